"""``mvit-det eval``: evaluate a detector on a COCO-format data set."""

import argparse
from typing import Any

from mvit_det.cli.arguments import (
    add_checkpoint_arguments,
    add_data_arguments,
    add_draw_argument,
    add_hardware_arguments,
    add_overwrite_argument,
)

HELP = "evaluate a detector by COCO's average precision"
EXAMPLE = (
    "mvit-det eval --checkpoint runs/demo/best.ckpt --json runs/demo/shapes/val.json "
    "--images runs/demo/shapes/images --out runs/eval"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_checkpoint_arguments(parser)
    add_data_arguments(parser)
    add_hardware_arguments(parser)
    add_draw_argument(parser)
    add_overwrite_argument(parser)


def run(checkpoint: str, **options: Any) -> None:
    """Evaluate a detector; write its metrics, detections and images."""
    from mvit_det.torchvision.evaluate import EvalOptions, evaluate_checkpoint
    from mvit_det.weights import local_file

    evaluate_checkpoint(EvalOptions(checkpoint=local_file(checkpoint), **options))
