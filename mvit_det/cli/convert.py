"""``mvit-det convert``: convert weights to another file format."""

import argparse
from pathlib import Path

HELP = "convert weights to safetensors, or to a file for Detectron2"
EXAMPLE = "mvit-det convert runs/demo/best.ckpt runs/demo/best.pth"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "source", help="published weights, or those of a run: a file, a URL or detectron2://..."
    )
    parser.add_argument("out", type=Path, help="file to write: NAME.safetensors or, for Detectron2, NAME.pth")
    parser.add_argument(
        "--json",
        type=Path,
        help="COCO-format JSON with the class names of a detector, if the source does not contain them",
    )


def run(source: str, out: Path, json: Path | None) -> None:
    """Convert weights."""
    from mvit_det.torchvision.convert import convert

    convert(source, out, json)
