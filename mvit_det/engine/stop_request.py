"""The request to stop a training run, on which its processes agree after each step."""

from typing import Any

import torch
from torch import distributed

from mvit_det.engine.ending import ENDING
from mvit_det.engine.interruption import REQUEUE, requested
from mvit_det.engine.slurm import requeue


class StopRequest:
    """Tells a training loop whether to stop, in all processes at the same step.

    All processes create it at the same time, when training starts.
    """

    def __init__(self) -> None:
        self.group: Any = None
        if distributed.is_initialized() and distributed.get_world_size() > 1:
            # On the CPU, so that no process waits for its GPU.
            self.group = distributed.new_group(backend="gloo")

    def agreed(self) -> int:
        """Return the largest request of all processes: 0 (nothing), ``STOP`` or ``REQUEUE``."""
        if self.group is None:
            return requested()
        request = torch.tensor([requested()], dtype=torch.uint8)
        distributed.all_reduce(request, distributed.ReduceOp.MAX, self.group)
        return int(request)


def end_run(request: int, num_steps: int) -> None:
    """Record that a checkpoint was saved after ``num_steps`` steps, and requeue the job if asked for.

    The first process calls this function when it has saved the checkpoint.
    """
    ENDING.saved_step = num_steps
    if request == REQUEUE:
        ENDING.requeued = requeue()
