"""The request to stop a training run, on which its processes agree before and after each step."""

from typing import Any, NoReturn

import torch
from torch import distributed

from mvit_det.engine.ending import ENDING
from mvit_det.engine.interruption import REQUEUE, requested
from mvit_det.engine.slurm import requeue
from mvit_det.errors import ImageError, message_of

FAILED = 3  # a process cannot load its next batch; takes precedence over the others


class StopRequest:
    """Tells a training loop whether to stop, in all processes at the same step.

    All processes create it at the same time, when training starts.

    Attributes:
        has_failed: whether the processes have agreed that one of them cannot load its next batch.
    """

    def __init__(self) -> None:
        self.has_failed = False
        self.group: Any = None
        if distributed.is_initialized() and distributed.get_world_size() > 1:
            # On the CPU, so that no process waits for its GPU.
            self.group = distributed.new_group(backend="gloo")

    def agreed(self, *, has_failed: bool = False) -> int:
        """Return the largest request of all processes: 0 (nothing), ``STOP``, ``REQUEUE`` or ``FAILED``.

        Args:
            has_failed: whether this process cannot load its next batch.
        """
        request = FAILED if has_failed else requested()
        if self.group is not None:
            requests = torch.tensor([request], dtype=torch.uint8)
            distributed.all_reduce(requests, distributed.ReduceOp.MAX, self.group)
            request = int(requests)
        self.has_failed = request == FAILED
        return request

    def raise_error(self, error: ImageError | None) -> NoReturn:
        """Raise the error that ends the run in the first process; the others exit silently.

        If the processes have agreed to stop, all of them call this function after the checkpoint was saved.

        Args:
            error: the error of this process, if it is the one that has failed.
        """
        message = "" if error is None else message_of(error)
        if self.group is not None and self.has_failed:
            messages: list[Any] = [None] * distributed.get_world_size()
            distributed.all_gather_object(messages, message, self.group)
            message = next(filter(None, messages))
            if distributed.get_rank() > 0:
                raise SystemExit(2)
        raise ImageError(message) from None


def record_checkpoint(request: int, num_steps: int) -> None:
    """Record that a run has saved a checkpoint because it stops, and requeue its job if asked to.

    The first process calls this function.

    Args:
        request: what the processes have agreed on.
        num_steps: number of steps before the checkpoint.
    """
    ENDING.saved_step = num_steps
    if request == REQUEUE:
        ENDING.requeued = requeue()
