"""``mvit-det predict``: detect objects in an image, a folder of images or a video."""

import argparse
from pathlib import Path
from typing import Any

from mvit_det.cli.arguments import add_checkpoint_arguments, add_overwrite_argument, non_negative

HELP = "detect objects in an image, a folder of images or a video"
EXAMPLE = "mvit-det predict runs/demo/shapes/images --checkpoint runs/demo/best.ckpt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("source", type=Path, help="an image, a folder of images or a video")
    add_checkpoint_arguments(parser, Path("runs/predictions"))
    parser.add_argument(
        "--score",
        type=non_negative(float),
        default=0.5,
        help="minimum score of a drawn detection; default: %(default)s",
    )
    add_overwrite_argument(parser)


def run(checkpoint: str, soft_nms: str | None, **options: Any) -> None:
    """Detect objects, and write annotated copies and a COCO results file."""
    from mvit_det.report.predictions import PredictOptions
    from mvit_det.report.run_folder import find_checkpoint
    from mvit_det.torchvision.predict import predict
    from mvit_det.weights import local_file

    predict(PredictOptions(checkpoint=find_checkpoint(local_file(checkpoint)), **options), soft_nms)
