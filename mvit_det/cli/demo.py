"""``mvit-det demo``: generate a data set, train on it and evaluate, in minutes on a CPU."""

import argparse
import sys
from functools import partial
from pathlib import Path

from mvit_det.cli.arguments import add_overwrite_argument, positive

HELP = "train on generated images of shapes, evaluate, and draw the detections"
EXAMPLE = "mvit-det demo --out runs/demo"

DATA = "shapes"  # name of the folder for the data set, in the folder of the run
NUM_TRAIN, NUM_VAL = 160, 32  # images
SHORT_SIDE = 224  # px


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), help="folder of the run; default: %(default)s"
    )
    parser.add_argument(
        "--epochs", type=positive(int), default=14, help="number of epochs; default: %(default)s"
    )
    add_overwrite_argument(parser)


def run(out: Path, epochs: int, overwrite: bool) -> None:
    """Write a data set to ``out/shapes``, train on it, and evaluate on its validation images.

    Raises:
        InputError: if ``out`` contains another run; nothing is written in that case.
    """
    from mvit_det.data.shapes import write_shapes
    from mvit_det.report.run_folder import RESULT_FILES, TRAINING_FILES, check_output, clear_output
    from mvit_det.report.run_lock import run_lock
    from mvit_det.torchvision.engine.options import TrainOptions
    from mvit_det.torchvision.train import train

    names = (*TRAINING_FILES, *RESULT_FILES, DATA)
    check_output(out, names, overwrite, inputs=())
    data = out / DATA
    options = TrainOptions(
        json=data / "train.json",
        images=data / "images",
        val_json=data / "val.json",
        variant="mvitv2_nano",
        out=out,
        size=SHORT_SIDE,
        augmentation="flip",
        epochs=epochs,
    )
    with run_lock(out, partial(print, file=sys.stderr)):
        clear_output(out, names)
        write_shapes(data, NUM_TRAIN, NUM_VAL)
        train(options)
