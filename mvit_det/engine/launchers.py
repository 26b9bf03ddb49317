"""Recognition of processes that torchrun or Slurm's srun started, and the CPU cores that they can use."""

import os
import re
from dataclasses import dataclass

from mvit_det.errors import InputError, counted

TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
FIRST_PORT, NUM_PORTS = 15_000, 10_000  # the ports that jobs of Slurm use


@dataclass(frozen=True)
class Launch:
    """The processes of a run that torchrun or srun started, and the place of this process among them.

    Attributes:
        rank: number of this process among all processes.
        world_size: number of all processes.
        local_rank: number of this process among those of its machine.
        local_size: number of processes on each machine.
        address: name or address of the machine of the process with rank 0.
        port: port on which that process listens.
    """

    rank: int
    world_size: int
    local_rank: int
    local_size: int
    address: str
    port: int

    @property
    def num_machines(self) -> int:
        """Number of machines."""
        return self.world_size // self.local_size

    def check_gpus(self, num_gpus: int) -> None:
        """Check that this process sees a GPU for each process of its machine, if it sees any.

        Args:
            num_gpus: number of GPUs that this process sees.

        Raises:
            InputError: if it sees fewer, as after ``srun --gpus-per-task=1``.
        """
        if 0 < num_gpus < self.local_size:
            raise InputError(
                f"{self.local_size} processes were started on this machine, but this one sees "
                f"{counted(num_gpus, 'GPU')}: start one process per GPU, and let every process see all GPUs "
                f"of its machine, with Slurm by --gpus-per-node={self.local_size} instead of --gpus-per-task"
            )

    def export(self) -> None:
        """Set the environment variables of torchrun, from which ``torch.distributed`` connects processes."""
        os.environ |= {
            "RANK": str(self.rank),
            "WORLD_SIZE": str(self.world_size),
            "LOCAL_RANK": str(self.local_rank),
            "LOCAL_WORLD_SIZE": str(self.local_size),
            "GROUP_RANK": str(self.rank // self.local_size),
            "MASTER_ADDR": self.address,
            "MASTER_PORT": str(self.port),
        }


def find_launch() -> Launch | None:
    """Return the place of this process in a run that torchrun or srun started; None if neither did.

    A single task of srun is not such a run: it starts the other processes itself. Nor is the batch script of
    a Slurm job, which has no step.

    Raises:
        InputError: if an environment variable of torchrun or Slurm cannot be used.
    """
    if all(name in os.environ for name in TORCHRUN):
        launch = Launch(
            rank=environment_integer("RANK"),
            world_size=environment_integer("WORLD_SIZE"),
            local_rank=environment_integer("LOCAL_RANK"),
            local_size=environment_integer("LOCAL_WORLD_SIZE", default=os.environ["WORLD_SIZE"]),
            address=os.environ["MASTER_ADDR"],
            port=environment_integer("MASTER_PORT"),
        )
    elif environment_integer("SLURM_STEP_NUM_TASKS", default="1") > 1:
        launch = Launch(
            rank=environment_integer("SLURM_PROCID"),
            world_size=environment_integer("SLURM_STEP_NUM_TASKS"),
            local_rank=environment_integer("SLURM_LOCALID"),
            local_size=_tasks_per_node(),
            address=os.environ.get("MASTER_ADDR") or _first_host(os.environ.get("SLURM_STEP_NODELIST", "")),
            port=environment_integer("MASTER_PORT", default=str(_port_of_step())),
        )
    else:
        return None
    is_possible = launch.rank < launch.world_size and launch.local_size > 0
    if not is_possible or launch.world_size % launch.local_size:
        raise InputError(
            f"this is process {launch.rank} of {launch.world_size}, {launch.local_size} per machine: every "
            "machine needs the same number of processes"
        )
    return launch


def count_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def environment_integer(name: str, default: str | None = None) -> int:
    """Return the value of an environment variable as an integer of at least 0.

    Raises:
        InputError: if it is not one.
    """
    text = os.environ.get(name, default)
    if text is None or not text.isdecimal():
        raise InputError(f"environment variable {name} is {text!r}: expected an integer of at least 0")
    return int(text)


def _tasks_per_node() -> int:
    """Return the number of tasks on each machine, which Slurm writes as ``4`` or ``4(x2)``."""
    text = os.environ.get("SLURM_STEP_TASKS_PER_NODE", "")
    match = re.fullmatch(r"([1-9]\d*)(\(x\d+\))?", text)
    if match is None:
        raise InputError(
            f"environment variable SLURM_STEP_TASKS_PER_NODE is {text!r}: every machine needs the same "
            "number of tasks, as with srun --ntasks-per-node"
        )
    return int(match[1])


def _first_host(hosts: str) -> str:
    """Return the first name in a list of hosts, which Slurm writes as ``gpu[07-08,11],login``."""
    first = re.sub(r"\[([^],-]+)[^]]*\]", r"\1", hosts).partition(",")[0]
    if not first:
        raise InputError("environment variable SLURM_STEP_NODELIST is empty: set MASTER_ADDR")
    return first


def _port_of_step() -> int:
    """Return a port that all processes of a step know, and that other jobs on the machine rarely use."""
    job, step = (environment_integer(f"SLURM_{name}_ID", default="0") for name in ("JOB", "STEP"))
    return FIRST_PORT + (job + step) % NUM_PORTS
