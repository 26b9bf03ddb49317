"""The end of a training run that is interrupted or lacks an image: between two steps, with a checkpoint."""

from detectron2.checkpoint import DetectionCheckpointer
from detectron2.engine import HookBase
from detectron2.utils import comm

from mvit_det.engine.interruption import defer_interrupts, requested
from mvit_det.engine.stop_request import record_checkpoint


class StopWhenInterrupted(HookBase):
    """Ends training between two steps if one of the processes has received a signal.

    A signal ends the hooks after this one, such as an evaluation, at once; the checkpoint is that of the step
    before. After the last step, this hook saves nothing, because the complete run has its own checkpoint.

    Args:
        checkpointer: writes the checkpoint, in the main process.
    """

    def __init__(self, checkpointer: DetectionCheckpointer) -> None:
        self.checkpointer = checkpointer
        self.request, self.is_whole = 0, False

    def before_step(self) -> None:
        self.is_whole = False
        defer_interrupts(True)

    def after_step(self) -> None:
        self.is_whole = self.trainer.iter + 1 < self.trainer.max_iter
        if self.is_whole:
            self.request = self.trainer.stop_request.agreed()
            if self.request:
                raise KeyboardInterrupt
            defer_interrupts(False)

    def after_train(self) -> None:
        request = self.request or requested()
        if not (request and self.is_whole):
            defer_interrupts(False)
        else:
            self.save(request)

    def save(self, request: int) -> None:
        """Save a checkpoint after the last step, in the main process, unless there is one.

        Args:
            request: what the processes have agreed on, or ``FAILED``.
        """
        has_run = self.trainer.start_iter <= self.trainer.iter < self.trainer.max_iter - 1
        if not (has_run and comm.is_main_process()):  # the run has its first or its last checkpoint
            return
        name = f"model_{self.trainer.iter:07d}"
        if not self.checkpointer.get_checkpoint_file().endswith(f"{name}.pth"):  # not written after this step
            self.checkpointer.save(name, iteration=self.trainer.iter)
        record_checkpoint(request, self.trainer.iter + 1)
