"""The processes of a run: one for each device of each machine."""

import atexit
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from rich.console import Console

from mvit_det.engine.children import is_child, start_children
from mvit_det.engine.ending import ENDING
from mvit_det.engine.faults import explained_faults
from mvit_det.engine.launchers import count_cores, environment_integer, find_launch
from mvit_det.engine.process_group import leave_process_group
from mvit_det.errors import InputError, counted
from mvit_det.report.console import PlainConsole

MACHINES = ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT")  # variables that tell of other machines


@dataclass(frozen=True)
class Processes:
    """The processes of a run, and the place of this process among them.

    Attributes:
        devices: number of processes on each machine, each with its own device.
        num_nodes: number of machines.
        rank: number of this process among all processes.
    """

    devices: int = 1
    num_nodes: int = 1
    rank: int = 0

    @property
    def world_size(self) -> int:
        """Number of all processes."""
        return self.devices * self.num_nodes

    def start(self) -> ClusterEnvironment:
        """Start the other processes of this machine if no launcher has; return how they find each other."""
        launch = find_launch()
        if launch is None and self.world_size == 1:
            return LightningEnvironment()
        if launch is None:
            launch = start_children(self.devices, machine=_node_rank(), num_machines=self.num_nodes)
        launch.export()
        atexit.register(leave_process_group)  # Lightning does this for NCCL only
        return TorchElasticEnvironment()


def find_processes(devices: int | None, num_nodes: int | None) -> Processes:
    """Return the processes of a run.

    If torchrun or srun started this process, their number is that of the launcher. Otherwise
    :meth:`Processes.start` starts the other processes of this machine later, and several machines need the
    environment variables NODE_RANK, MASTER_ADDR and MASTER_PORT.

    Args:
        devices: number of processes on each machine; None: those of the launcher, or 1.
        num_nodes: number of machines; None: those of the launcher, or 1.

    Raises:
        InputError: if a number differs from that of the launcher; if this process sees too few GPUs or,
            without GPUs, too few CPU cores; or if one of these variables is missing.
    """
    launch = find_launch()
    if launch is None:
        devices, num_nodes = devices or 1, num_nodes or 1
        missing = [name for name in MACHINES if name not in os.environ]
        if num_nodes > 1 and missing:
            raise InputError(
                f"num_nodes {num_nodes}: start the run with torchrun or srun, or set {', '.join(missing)} on "
                "each machine"
            )
        if _node_rank() >= num_nodes:
            raise InputError(f"NODE_RANK {_node_rank()}: expected at most {num_nodes - 1}")
        rank = _node_rank() * devices + _local_rank()
    else:
        for name, given, started in (
            ("devices", devices, launch.local_size),
            ("num_nodes", num_nodes, launch.num_machines),
        ):
            if given not in (None, started):
                raise InputError(f"{name} {given}: torchrun or srun has started {started}; leave it out")
        launch.check_gpus(torch.cuda.device_count())
        devices, num_nodes, rank = launch.local_size, launch.num_machines, launch.rank
    _check_devices(devices)
    return Processes(devices, num_nodes, rank)


def build_console() -> Console:
    """Return a console on stderr that only the first process prints to."""
    return PlainConsole(stderr=True, quiet=not is_first_process())


def is_first_process() -> bool:
    """Return whether this process has the rank 0. It may be called before the other processes start."""
    launch = find_launch()
    if launch is not None:
        return launch.rank == 0
    return _node_rank() == _local_rank() == 0


@contextmanager
def single_error() -> Iterator[None]:
    """Keep several processes from reporting the same error, and explain faults of the machine.

    An interrupt is raised as a KeyboardInterrupt in the first process; the others exit silently. Lightning
    turns Ctrl-C and SIGTERM into a SystemExit, which is treated as an interrupt too. An InputError that
    occurs before the processes are connected is raised in the first process of each machine, because the
    others read the same files. A process that the first one has started raises it: the first one, which had
    read them before, has no error.

    Raises:
        RunError: in place of what PyTorch raises if, for example, a loading process was killed.
    """
    if not ENDING.program:  # called from Python and not by a command, whose context forgets it by itself
        ENDING.resume = "the same call with resume=True"
    try:
        with explained_faults():
            yield
    except (KeyboardInterrupt, SystemExit):
        if not is_first_process():
            sys.exit(1)
        raise KeyboardInterrupt(ENDING.how_to_continue()) from None
    except InputError:
        if _local_rank() != 0 and not is_child() and not torch.distributed.is_initialized():
            sys.exit(2)
        raise
    finally:
        if not ENDING.program:
            ENDING.reset()


def _node_rank() -> int:
    return environment_integer("NODE_RANK", default=os.environ.get("GROUP_RANK", "0"))


def _local_rank() -> int:
    launch = find_launch()
    return environment_integer("LOCAL_RANK", default="0") if launch is None else launch.local_rank


def _check_devices(devices: int) -> None:
    """Check that this machine has a GPU for each process or, if it has none, a CPU core."""
    num_gpus, num_cores = torch.cuda.device_count(), count_cores()
    if num_gpus and devices > num_gpus:
        raise InputError(f"devices {devices}: this machine has {counted(num_gpus, 'GPU')}")
    if not num_gpus and devices > num_cores:
        raise InputError(
            f"devices {devices}: this machine has no GPU that torch can use, and "
            f"{counted(num_cores, 'CPU core')}"
        )
