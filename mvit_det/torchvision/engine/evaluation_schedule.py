"""When a training run is evaluated, and when it stops early."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping
from rich.console import Console

from mvit_det.errors import counted
from mvit_det.report.console import print_line
from mvit_det.torchvision.engine.lightning_module import BEST_BY

NUM_EVALUATIONS = 10  # at most, by default


def default_interval(epochs: int) -> int:
    """Return the number of epochs between evaluations with which a run has at most 10."""
    return -(-epochs // NUM_EVALUATIONS)


def evaluated_epochs(epochs: int, interval: int) -> list[int]:
    """Return the number of epochs before each evaluation of a run. The last epoch is always evaluated."""
    return sorted({*range(interval, epochs + 1, interval), epochs})


class EvaluateLastEpoch(L.Callback):
    """Makes Lightning evaluate after the last epoch, whatever the interval between evaluations."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.on_train_epoch_start(
            trainer, pl_module
        )  # Lightning omits that hook if it resumes within an epoch

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.current_epoch + 1 == trainer.max_epochs:
            trainer.check_val_every_n_epoch = 1


class EarlyStop(EarlyStopping):
    """Ends a run after ``patience`` evaluations in a row without a better box AP.

    A resumed run continues the count. The patience may then differ.
    """

    def __init__(self, patience: int, console: Console) -> None:
        super().__init__(BEST_BY, patience=patience, mode="max", check_on_train_epoch_end=False)
        self.console = console

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict | {"patience": self.patience})

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._stop_if_due(trainer)  # the run may have stopped already

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_validation_end(trainer, pl_module)
        if trainer.state.fn == "fit":
            self._stop_if_due(trainer)

    def _stop_if_due(self, trainer: L.Trainer) -> None:
        if self.wait_count < self.patience:
            return
        trainer.should_stop = True
        if trainer.current_epoch + 1 == trainer.max_epochs:
            return
        print_line(
            self.console,
            f"stopped early at step {trainer.global_step}: no better box AP than {self.best_score:.1f} in "
            f"the last {counted(self.wait_count, 'evaluation')}",
        )
