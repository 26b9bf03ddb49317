"""``mvit-det train``: train a detector on a data set."""

import argparse
from pathlib import Path
from typing import Any

from mvit_det.backbone.variants import RECOMPUTE, VARIANTS
from mvit_det.cli.arguments import (
    add_data_arguments,
    add_draw_argument,
    add_hardware_arguments,
    add_overwrite_argument,
    fraction,
    image_side,
    non_negative,
    positive,
)
from mvit_det.engine.trackers import TRACKERS
from mvit_det.heads import AUTOMATIC, HEADS
from mvit_det.recipes import RECIPES

HELP = "train a detector on a data set"
EXAMPLE = "mvit-det train --data runs/demo/shapes --variant mvitv2_nano --out runs/shapes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    data = parser.add_argument_group("data")
    add_data_arguments(data)
    data.add_argument(
        "--val-json",
        type=Path,
        help="annotations of the validation set: a COCO-format JSON file; default: none",
    )
    data.add_argument(
        "--val-images",
        type=Path,
        help="folder that contains the validation images; default: the folder of --images",
    )
    _add_model_arguments(parser.add_argument_group("model"))
    _add_schedule_arguments(parser.add_argument_group("schedule"))
    hardware = parser.add_argument_group("hardware")
    hardware.add_argument(
        "--precision",
        choices=("float32", "bf16"),
        default="float32",
        help="bf16 is mixed precision; default: %(default)s",
    )
    add_hardware_arguments(hardware)
    output = parser.add_argument_group("output")
    output.add_argument("--out", type=Path, help="folder of the run; default: runs/VARIANT")
    output.add_argument(
        "--save-every",
        default="10m",
        metavar="N",
        help="interval between checkpoints within an epoch: a number of steps, such as 500, or of minutes, "
        "such as %(default)s; there is always one at the end of an epoch; default: %(default)s",
    )
    add_draw_argument(output)
    output.add_argument(
        "--logger",
        choices=TRACKERS,
        help="also log to this experiment tracker; its package must be installed; default: none",
    )
    earlier_run = output.add_mutually_exclusive_group()
    earlier_run.add_argument("--resume", action="store_true", help="continue the run in --out")
    add_overwrite_argument(earlier_run)


def run(**options: Any) -> tuple[Path, dict[str, Any]]:
    """Train a detector; if there is a validation set, evaluate the best checkpoint.

    Returns:
        the folder of the run, and the metrics of the best checkpoint.
    """
    from mvit_det.torchvision.engine.options import TrainOptions
    from mvit_det.torchvision.train import train

    options["out"] = options["out"] or Path("runs", options["variant"])
    return options["out"], train(TrainOptions(**options))


def _add_model_arguments(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument("--variant", required=True, help=f"one of {', '.join(VARIANTS)}")
    head = parser.add_mutually_exclusive_group()
    head.add_argument(
        "--head",
        choices=[*AUTOMATIC, *HEADS],
        default="auto",
        help="detection head; auto is mask_rcnn if every object of the training set has a mask, else "
        "faster_rcnn, and auto_cascade chooses between the cascades; default: %(default)s",
    )
    head.add_argument(
        "--cascade",
        dest="head",
        action="store_const",
        const="auto_cascade",
        default="auto",
        help="shorthand for --head %(const)s",
    )
    parser.add_argument(
        "--weights",
        metavar="SOURCE",
        help="initial weights of a backbone or a detector: a file, a URL, or the name of a published model "
        "(see mvit-det download); default: random",
    )
    parser.add_argument(
        "--recompute",
        choices=RECOMPUTE,
        default="none",
        help="what the backward pass recomputes to save memory: cheap (norms and activation functions) "
        "or block (everything in a block); default: %(default)s",
    )


def _add_schedule_arguments(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument(
        "--epochs",
        type=positive(int),
        metavar="N",
        help=f"number of epochs; default: {_by_variant('epochs')}",
    )
    parser.add_argument(
        "--batch-size",
        type=positive(int),
        default=4,
        metavar="N",
        help="images per batch on each device; default: %(default)s",
    )
    parser.add_argument(
        "--accumulate",
        type=positive(int),
        default=1,
        metavar="N",
        help="batches per optimizer step; default: %(default)s",
    )
    parser.add_argument(
        "--lr",
        type=positive(float),
        help="peak learning rate; default: scaled with the number of images per step",
    )
    parser.add_argument(
        "--clip-norm", type=positive(float), help="maximum norm of the gradient; default: none"
    )
    parser.add_argument(
        "--ema",
        type=fraction(),
        nargs="?",
        const=0.9998,
        metavar="DECAY",
        help="evaluate and keep an exponential moving average of the weights; default: none, or %(const)s "
        "without a value",
    )
    parser.add_argument(
        "--eval-every",
        type=positive(int),
        metavar="N",
        help="epochs between evaluations, besides the one after the last epoch; default: the smallest number "
        "with which there are at most 10 evaluations",
    )
    parser.add_argument(
        "--patience",
        type=positive(int),
        metavar="N",
        help="stop after N evaluations in a row without a better box AP; default: never",
    )
    parser.add_argument(
        "--size",
        type=image_side(),
        help=f"short side of a test image in pixels; default: {_by_variant('short_side')}",
    )
    parser.add_argument(
        "--augmentation",
        choices=("flip", "multiscale", "lsj"),
        default="multiscale",
        help="flip keeps the test size; multiscale is the augmentation of the variant's recipe; lsj is "
        "large-scale jittering on a square with sides of --size; default: %(default)s",
    )
    parser.add_argument("--seed", type=non_negative(int), default=0, help="random seed; default: %(default)s")


def _by_variant(field: str) -> str:
    """Return the values of a field of the recipes, for the help."""
    values = (f"{getattr(recipe, field)} for {name}" for name, recipe in RECIPES.items() if name != "default")
    return f"{', '.join(values)}, else {getattr(RECIPES['default'], field)}"
