"""The commands ``train`` and ``eval`` as functions that take the flags as keywords."""

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from mvit_det.cli import eval as eval_command
from mvit_det.cli import train as train_command
from mvit_det.errors import InputError, unknown_name


@dataclass(frozen=True)
class TrainingRun:
    """A training run that has ended.

    Attributes:
        folder: folder of the run.
        best: the checkpoint with the highest average precision of boxes; None without a validation set.
        last: the checkpoint of the last step.
        metrics: metrics of ``best``, in percent, such as ``metrics["box"]["AP"]``; empty without a
            validation set.
    """

    folder: Path
    best: Path | None
    last: Path
    metrics: dict[str, Any]


def train(variant: str, **options: Any) -> TrainingRun:
    """Train a detector, as ``mvit-det train`` does.

        >>> run = mvit_det.train("mvitv2_nano", data="shapes", epochs=5, out="runs/shapes")
        >>> mvit_det.Detector(run.best), run.metrics["box"]["AP"]

    Args:
        variant: name in :data:`mvit_det.VARIANTS`.
        **options: the flags of ``mvit-det train`` with underscores, such as ``batch_size=2``. Those without a
            value are True or False, such as ``resume=True``. None stands for the default.

    Raises:
        InputError: for an option or an input that cannot be used, in which case nothing is written.
        RunError: if a fault of the machine stops the run, such as a full disk.
    """
    folder, metrics = _call(train_command, variant=variant, **options)
    best = folder / "best.ckpt"
    return TrainingRun(folder, best if best.is_file() else None, folder / "last.ckpt", metrics)


def evaluate(checkpoint: str | Path, **options: Any) -> dict[str, Any]:
    """Evaluate a detector, as ``mvit-det eval`` does, and return COCO's metrics in percent.

        >>> mvit_det.evaluate("runs/shapes/best.ckpt", data="shapes")["box"]["AP"]

    Args:
        checkpoint: a file, the folder of a run, or a URL.
        **options: the flags of ``mvit-det eval``; see :func:`train`.

    Raises:
        InputError: for an option or an input that cannot be used, in which case nothing is written.
        RunError: if a fault of the machine stops the evaluation.
    """
    metrics: dict[str, Any] = _call(eval_command, checkpoint=checkpoint, **options)
    return metrics


class _KeywordParser(argparse.ArgumentParser):
    """A parser of keywords, which correspond to flags."""

    def parse_keywords(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of all options."""
        actions = {
            flag.removeprefix("--").replace("-", "_"): action
            for action in self._actions
            for flag in action.option_strings
        }
        arguments = []
        for name, value in options.items():
            if name not in actions:
                raise unknown_name("option", name, actions)
            flag = f"--{name.replace('_', '-')}"
            if actions[name].nargs == 0:
                arguments += [flag] * bool(value)
            elif value is not None:
                arguments.append(f"{flag}={value}")
        return vars(self.parse_args(arguments))

    def error(self, message: str) -> NoReturn:
        """Raise an InputError."""
        message = re.sub(r"--([a-z][a-z-]*)", lambda match: match[1].replace("-", "_"), message)
        raise InputError(message.removeprefix("argument "))


def _call(command: ModuleType, **options: Any) -> Any:
    """Run a command with the options that its parser reads from keywords, and return its result."""
    parser = _KeywordParser(add_help=False)
    command.add_arguments(parser)
    return command.run(**parser.parse_keywords(options))
