"""The end of a training run that is interrupted or lacks an image: between two batches, with a checkpoint."""

from typing import Any

import lightning as L

from mvit_det.engine.interruption import defer_interrupts
from mvit_det.engine.stop_request import StopRequest, record_checkpoint
from mvit_det.errors import ImageError
from mvit_det.torchvision.engine.last_checkpoint import LastCheckpoint


class StopWhenInterrupted(L.Callback):
    """Ends training before a batch if a process has received a signal, or cannot read an image of the batch.

    The checkpoint is that of the last optimizer step: a resumed run repeats the batches whose gradients were
    accumulated since. An evaluation ends at once: the checkpoint was written before it.

    Args:
        last: writes the checkpoint.
    """

    def __init__(self, last: LastCheckpoint) -> None:
        self.last = last
        self.stop_request: StopRequest | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.stop_request = StopRequest()
        defer_interrupts(True)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
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

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        # The other processes have their batch, and agree in on_train_batch_start.
        is_loading = trainer.training and self.stop_request is not None and not self.stop_request.has_failed
        if is_loading and isinstance(exception, ImageError):
            self._stop_if_agreed(trainer, exception)

    def _stop_if_agreed(self, trainer: L.Trainer, error: ImageError | None = None) -> None:
        assert self.stop_request is not None
        request = self.stop_request.agreed(has_failed=error is not None)
        if not request:
            return
        self.last.save(trainer)
        if trainer.is_global_zero:
            record_checkpoint(request, trainer.global_step)
        if self.stop_request.has_failed:
            self.stop_request.raise_error(error)
        raise KeyboardInterrupt
