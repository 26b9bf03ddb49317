"""``mvit-det convert``: convert weights to another file format."""

import argparse
from pathlib import Path

HELP = "convert weights to safetensors, or to a file for Detectron2"
EXAMPLE = "mvit-det convert runs/demo/best.ckpt runs/demo/best.pth"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "source", help="published weights, or those of a run: a file, a URL or the name of a published model"
    )
    parser.add_argument("out", type=Path, help="file to write: NAME.safetensors or, for Detectron2, NAME.pth")
    parser.add_argument(
        "--data",
        "--json",
        type=Path,
        help="the data set of a detector, a folder or a COCO-format JSON, if the source does not name its "
        "classes",
    )


def run(source: str, out: Path, data: Path | None) -> None:
    """Convert weights."""
    from mvit_det.torchvision.convert import convert

    convert(source, out, data)
