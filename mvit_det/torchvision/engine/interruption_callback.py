"""The end of an interrupted training run: between two steps, with a checkpoint."""

from typing import Any

import lightning as L

from mvit_det.engine.interruption import defer_interrupts
from mvit_det.engine.stop_request import StopRequest, end_run
from mvit_det.torchvision.engine.last_checkpoint import LastCheckpoint


class StopWhenInterrupted(L.Callback):
    """Ends training between two optimizer steps if one of the processes has received a signal.

    An evaluation ends at once: the checkpoint was written before it.

    Args:
        last: writes the checkpoint.
    """

    def __init__(self, last: LastCheckpoint) -> None:
        self.last = last

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.stop_request = StopRequest()
        defer_interrupts(True)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._stop_if_agreed(trainer)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn == "fit":
            self._stop_if_agreed(trainer)

    def on_validation_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        if trainer.state.fn == "fit" and batch_idx == 0:  # the checkpoint has been written by now
            defer_interrupts(False)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn == "fit":
            defer_interrupts(True)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        defer_interrupts(False)

    def _stop_if_agreed(self, trainer: L.Trainer) -> None:
        request = self.stop_request.agreed()
        if not request:
            return
        self.last.save(trainer)
        if trainer.is_global_zero:
            end_run(request, trainer.global_step)
        raise KeyboardInterrupt
