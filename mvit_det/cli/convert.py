"""``mvit-det convert``: write weights in another file format."""

import argparse
from pathlib import Path

HELP = "convert weights to safetensors, or to a file for Detectron2"
EXAMPLE = "mvit-det convert runs/demo/best.ckpt runs/demo/best.pth"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("source", help="weights, published or our own: a file, a URL or detectron2://...")
    parser.add_argument("out", type=Path, help="file to write: NAME.safetensors or, for Detectron2, NAME.pth")
    parser.add_argument(
        "--json",
        type=Path,
        help="COCO-format JSON with the class names of a detector whose file has none",
    )


def run(source: str, out: Path, json: Path | None) -> None:
    """Convert a file of weights."""
    from mvit_det.torchvision.convert import convert

    convert(source, out, json)
