"""The command ``mvit-det``: parses, calls, and turns an input error into one line and status 2."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mvit_det.backbone.variants import VARIANTS
from mvit_det.cli.arguments import build_parser
from mvit_det.cli.doctor import doctor
from mvit_det.cli.info import describe
from mvit_det.errors import InputError, one_line_errors


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; leave with status 1 when interrupted, 2 for bad input."""
    options = vars(build_parser().parse_args(arguments))
    command = COMMANDS[options.pop("command")]
    with one_line_errors("mvit-det"):
        command(**options)


# The commands import what they need when they run: info needs torch alone, and --help is quick.


def _demo(**options: Any) -> None:
    from mvit_det.cli.demo import demo

    demo(**options)


def _train(**options: Any) -> None:
    from mvit_det.torchvision.train import TrainOptions, train

    options["head"] = "cascade_mask_rcnn" if options.pop("cascade") else "mask_rcnn"
    options["out"] = options["out"] or Path("runs", options["variant"])
    train(TrainOptions(**options))


def _eval(**options: Any) -> None:
    from mvit_det.torchvision.evaluate import EvalOptions, evaluate_checkpoint
    from mvit_det.weights import local_file

    options["checkpoint"] = local_file(options["checkpoint"])
    evaluate_checkpoint(EvalOptions(**options))


def _predict(**options: Any) -> None:
    from mvit_det.report.predictions import PredictOptions
    from mvit_det.torchvision.predict import predict
    from mvit_det.weights import local_file

    options["checkpoint"] = local_file(options["checkpoint"])
    predict(PredictOptions(**options))


def _convert(**options: Any) -> None:
    from mvit_det.torchvision.convert import convert

    convert(**options)


def _inspect(source: str) -> None:
    from mvit_det.weights import local_file
    from mvit_det.weights.summary import inspect

    print(inspect(local_file(source)))


def _info(variant: str | None, size: tuple[int, int]) -> None:
    for name in VARIANTS if variant is None else [variant]:
        try:
            print(describe(name, *size))
        except ValueError as error:  # the model says what is wrong with the variant or the size
            raise InputError(error) from None


def _doctor() -> None:
    if not doctor():
        sys.exit(1)


COMMANDS: dict[str, Callable[..., None]] = {
    "demo": _demo,
    "train": _train,
    "eval": _eval,
    "predict": _predict,
    "convert": _convert,
    "inspect": _inspect,
    "info": _info,
    "doctor": _doctor,
}
