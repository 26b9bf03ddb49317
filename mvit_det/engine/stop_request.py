"""The stop of a training run after a whole step, on which its processes agree."""

from collections.abc import Callable

import torch
from torch import distributed

from mvit_det.engine.ending import ENDING
from mvit_det.engine.interruption import REQUEUE, defer_interrupts, requested
from mvit_det.engine.slurm import requeue


class StopRequest:
    """Tells a training loop after each step whether to stop, in all processes at the same step.

    Create it in all processes at the same time, when training starts.
    """

    def __init__(self) -> None:
        self.group = None
        if distributed.is_initialized() and distributed.get_world_size() > 1:
            # On the CPU, so that no process waits for its GPU.
            self.group = distributed.new_group(backend="gloo")
        defer_interrupts(True)

    def agreed(self) -> int:
        """Return the largest request of all processes: 0 (nothing), ``STOP`` or ``REQUEUE``."""
        if self.group is None:
            return requested()
        request = torch.tensor([requested()], dtype=torch.uint8)
        distributed.all_reduce(request, distributed.ReduceOp.MAX, self.group)
        return int(request)

    def stop_if_agreed(self, save: Callable[[], None], num_steps: int) -> None:
        """Save a checkpoint and end the run if a process has been interrupted.

        Args:
            save: function that writes the checkpoint. Every process calls it.
            num_steps: the number of steps that have been run.

        Raises:
            KeyboardInterrupt: if the run ends.
        """
        request = self.agreed()
        if not request:
            return
        save()
        ENDING.saved_step = num_steps
        if request == REQUEUE and not ENDING.is_silent:
            ENDING.requeued = requeue()
        raise KeyboardInterrupt
