"""``mvit-det eval``: evaluate a detector on a data set."""

import argparse
from pathlib import Path
from typing import Any

from mvit_det.cli.arguments import (
    add_checkpoint_arguments,
    add_data_arguments,
    add_draw_argument,
    add_hardware_arguments,
    add_inference_precision,
    add_overwrite_argument,
)

HELP = "compute COCO's average precision of a detector"
EXAMPLE = "mvit-det eval --checkpoint runs/demo/best.ckpt --data runs/demo/shapes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_checkpoint_arguments(parser, Path("runs/eval"))
    add_data_arguments(parser)
    add_inference_precision(parser, default="float32")
    add_hardware_arguments(parser)
    add_draw_argument(parser)
    add_overwrite_argument(parser)


def run(checkpoint: str, **options: Any) -> dict[str, Any]:
    """Evaluate a detector, write metrics, detections and drawings, and return the metrics."""
    from mvit_det.report.run_folder import find_checkpoint
    from mvit_det.torchvision.evaluate import EvalOptions, evaluate_checkpoint
    from mvit_det.weights import local_file
    from mvit_det.weights.published import DETECTOR

    path = find_checkpoint(local_file(checkpoint, DETECTOR))
    return evaluate_checkpoint(EvalOptions(checkpoint=path, **options))
