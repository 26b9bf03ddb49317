"""Arguments that several subcommands share, and the types of their values."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

MIN_SIDE = 32  # px; the smallest image that the backbone takes


def add_data_arguments(parser: argparse._ActionsContainer) -> None:
    """Add the arguments that name a data set: ``--data``, or ``--json`` and ``--images``."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--data", type=Path, metavar="FOLDER", help="folder of a data set in COCO, YOLO or Pascal VOC format"
    )
    source.add_argument("--json", type=Path, help="annotations of the data set: a COCO-format JSON file")
    parser.add_argument("--images", type=Path, help="folder that contains the images of --json")
    parser.add_argument(
        "--drop-invalid",
        action="store_true",
        help="drop annotations and images that cannot be used, and clip objects that reach over the edge "
        "of their image, instead of stopping with an error",
    )


def add_checkpoint_arguments(parser: argparse.ArgumentParser, out: Path) -> None:
    """Add ``--checkpoint``, which names a detector, ``--soft-nms``, and ``--out``, the folder for results.

    Args:
        parser: the parser of the command.
        out: default of ``--out``.
    """
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="SOURCE",
        help="weights of a detector: a file (best.ckpt, .safetensors, .pth or .pkl), the folder of a run, a "
        "URL, or the name of a published model (see mvit-det download)",
    )
    parser.add_argument(
        "--soft-nms",
        choices=("linear", "gaussian"),
        help="reduce the scores of overlapping detections instead of removing them; default: remove them",
    )
    parser.add_argument("--out", type=Path, default=out, help="folder for the results; default: %(default)s")


def add_inference_precision(parser: argparse.ArgumentParser, default: str) -> None:
    """Add ``--precision``; see :func:`mvit_det.engine.precision.autocast_dtype`."""
    parser.add_argument(
        "--precision",
        choices=("auto", "float32", "bf16", "fp16"),
        default=default,
        help="auto is bf16 or fp16 on a GPU, bf16 on a CPU with AMX or AVX512-BF16, else float32; default: "
        "%(default)s",
    )


def add_hardware_arguments(parser: argparse._ActionsContainer) -> None:
    """Add ``--devices``, ``--num-nodes`` and ``--workers``."""
    parser.add_argument(
        "--devices",
        type=positive(int),
        metavar="N",
        help="number of GPUs on each machine or, without a GPU, of processes that share the CPU; default: 1, "
        "or the processes that torchrun or srun started",
    )
    parser.add_argument(
        "--num-nodes",
        type=positive(int),
        metavar="N",
        help="number of machines; default: 1, or those on which torchrun or srun started processes",
    )
    parser.add_argument(
        "--workers",
        type=non_negative(int),
        metavar="N",
        help="data-loading processes per device; default: depends on the number of CPU cores",
    )


def add_draw_argument(parser: argparse._ActionsContainer) -> None:
    """Add ``--draw``."""
    parser.add_argument(
        "--draw",
        type=non_negative(int),
        default=8,
        metavar="N",
        help="number of images on which to draw ground truth and detections; default: %(default)s",
    )


def add_overwrite_argument(parser: argparse._ActionsContainer) -> None:
    """Add ``--overwrite``."""
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="delete the files of an earlier run from --out, including its logs and pictures",
    )


def positive(kind: type) -> Callable[[str], Any]:
    """Return a parser of finite numbers above 0, for the ``type`` of an argument."""
    return _checked(kind, lambda value: 0 < value < float("inf"), "must be above 0")


def non_negative(kind: type) -> Callable[[str], Any]:
    """Return a parser of finite numbers of at least 0, for the ``type`` of an argument."""
    return _checked(kind, lambda value: 0 <= value < float("inf"), "must be 0 or more")


def fraction() -> Callable[[str], Any]:
    """Return a parser of numbers between 0 and 1, for the ``type`` of an argument."""
    return _checked(float, lambda value: 0 < value < 1, "must be between 0 and 1")


def overlap() -> Callable[[str], Any]:
    """Return a parser of the part of a slice that the next one covers, for the ``type`` of an argument."""
    return _checked(float, lambda value: 0 <= value < 1, "must be at least 0 and less than 1")


def image_side() -> Callable[[str], Any]:
    """Return a parser of image sides in pixels, for the ``type`` of an argument."""
    return _checked(int, lambda value: value >= MIN_SIDE, f"must be at least {MIN_SIDE} px")


def _checked(kind: type, is_valid: Callable[[Any], bool], requirement: str) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        value = kind(text)
        if not is_valid(value):
            raise argparse.ArgumentTypeError(f"{text} {requirement}")
        return value

    parse.__name__ = kind.__name__  # for argparse's message "invalid int value"
    return parse
