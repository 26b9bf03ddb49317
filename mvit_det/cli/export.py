"""``mvit-det export``: export a detector to a format that other runtimes read."""

import argparse
from pathlib import Path
from typing import Any

HELP = "export a detector to ONNX, OpenVINO, torch.export or AOTInductor"
EXAMPLE = "mvit-det export runs/demo/best.ckpt --format onnx --out runs/demo/onnx"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "checkpoint",
        help="weights of a detector: a file, the folder of a run, a URL, or the name of a published model",
    )
    parser.add_argument(
        "--format",
        choices=("onnx", "openvino", "torch", "aoti"),
        required=True,
        help="torch is a program of torch.export, aoti a package of AOTInductor",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder for the export")
    parser.add_argument(
        "--images",
        type=Path,
        nargs="+",
        metavar="IMAGE",
        help="images, or folders of images, on which the export is compared with the checkpoint; default: "
        "generated images",
    )
    parser.add_argument(
        "--json",
        type=Path,
        help="COCO-format annotations of the images in the folder --images, to compare the average precision",
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "float16", "int8"),
        default="float32",
        help="of the weights and the computation; float16 and int8 are for onnx and openvino, and int8 needs "
        "--images; default: %(default)s",
    )
    parser.add_argument(
        "--min-score",
        type=float,
        default=0.05,
        metavar="SCORE",
        help="lowest score of a detection of the export, 0 to 1; default: %(default)s",
    )
    parser.add_argument(
        "--max-detections",
        type=int,
        default=100,
        metavar="N",
        help="largest number of detections in an image; default: %(default)s",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export in --out")


def run(checkpoint: str, **options: Any) -> None:
    """Export a detector, and check that it detects the same objects as the checkpoint.

    Raises:
        RunError: if it does not; the export is written nevertheless.
    """
    from mvit_det.errors import RunError
    from mvit_det.export import export_detector

    check = export_detector(checkpoint, **options)
    if not check.passed:
        raise RunError(check.failure)
