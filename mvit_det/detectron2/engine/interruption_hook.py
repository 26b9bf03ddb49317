"""The end of an interrupted training run: between two steps, with a checkpoint."""

from detectron2.checkpoint import DetectionCheckpointer
from detectron2.engine import HookBase
from detectron2.utils import comm

from mvit_det.engine.interruption import defer_interrupts, requested
from mvit_det.engine.stop_request import StopRequest, end_run


class StopWhenInterrupted(HookBase):
    """Ends training between two steps if one of the processes has received a signal.

    What the hooks after this one do, such as an evaluation, ends at once; the step before it is saved. After
    the last step, nothing is saved: its checkpoint is that of the complete run.

    Args:
        checkpointer: writes the checkpoint, in the main process.
    """

    def __init__(self, checkpointer: DetectionCheckpointer) -> None:
        self.checkpointer = checkpointer
        self.request, self.is_whole = 0, False

    def before_train(self) -> None:
        self.stop_request = StopRequest()

    def before_step(self) -> None:
        self.is_whole = False
        defer_interrupts(True)

    def after_step(self) -> None:
        self.is_whole = self.trainer.iter + 1 < self.trainer.max_iter
        if self.is_whole:
            self.request = self.stop_request.agreed()
            if self.request:
                raise KeyboardInterrupt
            defer_interrupts(False)

    def after_train(self) -> None:
        request = self.request or requested()
        if not (request and self.is_whole):
            defer_interrupts(False)
        elif comm.is_main_process():
            self._save()
            end_run(request, self.trainer.iter + 1)

    def _save(self) -> None:
        name = f"model_{self.trainer.iter:07d}"
        if not self.checkpointer.get_checkpoint_file().endswith(f"{name}.pth"):  # not written after this step
            self.checkpointer.save(name, iteration=self.trainer.iter)
