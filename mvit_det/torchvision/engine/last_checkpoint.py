"""The checkpoint that a run is resumed from, and when it is written."""

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint

from mvit_det.errors import InputError


@dataclass(frozen=True)
class SaveInterval:
    """The interval between checkpoints within an epoch: a number of optimizer steps, or a time in seconds."""

    steps: int | None = None
    seconds: float | None = None

    @classmethod
    def parse(cls, text: str) -> "SaveInterval":
        """Return the interval for a number of steps, such as ``"500"``, or of minutes, such as ``"10m"``.

        Raises:
            InputError: if the text is neither, or the number is 0.
        """
        match = re.fullmatch(r"(\d{1,9})|(\d{1,6}(?:\.\d{1,6})?)m", text, re.ASCII)
        if match is None or float(match[1] or match[2]) == 0:
            raise InputError(
                f"save_every {text!r}: expected a number of steps such as 500, or of minutes such as 10m"
            )
        return cls(steps=int(match[1])) if match[1] else cls(seconds=60 * float(match[2]))


class LastCheckpoint(Checkpoint):
    """Writes the state of a run to one file, always between two optimizer steps.

    It is written at the end of each epoch, after the evaluation if there is one, and before each evaluation.
    Within an epoch, it is written whenever ``interval`` has passed.

    Args:
        path: the file.
        interval: the interval between checkpoints within an epoch.
    """

    def __init__(self, path: Path, interval: SaveInterval) -> None:
        self.path, self.interval = path, interval

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._remember(trainer)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # Not at the end of a step, because Lightning logs its metrics after the hooks there.
        if batch_idx % trainer.accumulate_grad_batches == 0 and self._is_due(trainer):
            self._save(trainer)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn == "fit":
            self.save(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._save(trainer)

    def save(self, trainer: L.Trainer) -> None:
        """Write the checkpoint unless it was written after the last step. All processes call this."""
        if trainer.global_step != self.last_step:
            self._save(trainer)

    def _is_due(self, trainer: L.Trainer) -> bool:
        step = trainer.global_step
        if step == self.last_step:
            return False
        if self.interval.steps is not None:
            return step % self.interval.steps == 0
        assert self.interval.seconds is not None
        has_passed = time.monotonic() - self.last_time >= self.interval.seconds
        return trainer.strategy.broadcast(has_passed)  # the clocks of the processes differ

    def _save(self, trainer: L.Trainer) -> None:
        trainer.save_checkpoint(self.path)
        self._remember(trainer)

    def _remember(self, trainer: L.Trainer) -> None:
        self.last_step, self.last_time = trainer.global_step, time.monotonic()
