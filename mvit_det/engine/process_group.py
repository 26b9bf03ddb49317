"""How a process leaves the process group of its run."""

import gc

from torch import distributed


def leave_process_group() -> None:
    """Destroy the process group of this process, if there is one, and end its threads.

    A thread of gloo may still release a tensor after the collective that used it has returned. If Python
    exits meanwhile, the process aborts ("terminate called without an active exception"). The threads end with
    the last reference to their group, and a ``DistributedDataParallel`` has one.
    """
    if distributed.is_initialized():
        distributed.destroy_process_group()
        gc.collect()
