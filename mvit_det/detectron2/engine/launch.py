"""Start the processes of a run, or join those that torchrun or srun started."""

import os
import re
import sys
from argparse import Namespace
from collections.abc import Callable

import torch
from detectron2.engine.launch import DEFAULT_TIMEOUT
from detectron2.utils import comm
from torch import distributed

from mvit_det.engine.children import start_children
from mvit_det.engine.launchers import find_launch
from mvit_det.engine.process_group import leave_process_group
from mvit_det.errors import InputError


def set_processes(args: Namespace) -> None:
    """Set ``num_gpus``, ``num_machines`` and ``machine_rank`` where they are None.

    If torchrun or srun started this process, the numbers are those of the launcher, and 1, 1 and 0 otherwise.

    Raises:
        InputError: if one is set to another number than that of the launcher.
    """
    found = find_launch()
    defaults = {"num_gpus": 1, "num_machines": 1, "machine_rank": 0}
    if found is not None:
        machine_rank = found.rank // found.local_size
        defaults = {
            "num_gpus": found.local_size,
            "num_machines": found.num_machines,
            "machine_rank": machine_rank,
        }
    for name, default in defaults.items():
        value = getattr(args, name)
        if found is not None and value not in (None, default):
            flag = f"--{name.replace('_', '-')}"
            raise InputError(f"{flag} {value}: torchrun or srun has set {default}; leave the flag out")
        setattr(args, name, default if value is None else value)


def start_processes(args: Namespace) -> None:
    """Start the other processes of this machine, which :func:`join_processes` connects with this one."""
    size, url = args.num_gpus, args.dist_url
    tcp = re.fullmatch(r"tcp://(.+):(\d+)", url)
    if tcp is not None:
        os.environ |= {"MASTER_ADDR": tcp[1], "MASTER_PORT": tcp[2]}
    elif not url.startswith("env://"):  # a free port of this machine
        os.environ.pop("MASTER_ADDR", None)
        os.environ.pop("MASTER_PORT", None)
    start_children(size, args.machine_rank, args.num_machines)


def join_processes(url: str = "env://") -> bool:
    """Connect this process with the others if there are several; return whether there are.

    Args:
        url: where the processes meet, if it is a file: ``file://...``. Otherwise, the environment variables
            of torchrun and Slurm say where.

    Raises:
        InputError: if this process sees fewer GPUs than there are processes on its machine.
    """
    found = find_launch()
    if found is None or found.world_size == 1:
        return False
    found.export()
    num_gpus = torch.cuda.device_count()
    if num_gpus:
        found.check_gpus(num_gpus)
        torch.cuda.set_device(found.local_rank)
    distributed.init_process_group(
        "nccl" if num_gpus else "gloo",
        init_method=url if url.startswith("file://") else "env://",
        world_size=found.world_size,
        rank=found.rank,
        # NCCL's own limit of 10 minutes is too short for an evaluation in the main process.
        timeout=DEFAULT_TIMEOUT,
    )
    comm.create_local_process_group(found.local_size)
    comm.synchronize()
    return True


def leave_processes() -> None:
    """Disconnect this process from those that :func:`join_processes` connected it with."""
    comm._LOCAL_PROCESS_GROUP = None
    comm.create_local_process_group.cache_clear()
    comm._get_global_gloo_group.cache_clear()
    leave_process_group()


def check_once(check: Callable[[], None]) -> None:
    """Call ``check`` in the first process. If it fails there, the other processes exit silently."""
    error = None
    if comm.is_main_process():
        try:
            check()
        except Exception as caught:
            error = caught
    has_failed = any(comm.all_gather(error is not None))
    if error is not None:
        raise error
    if has_failed:
        sys.exit(2)
