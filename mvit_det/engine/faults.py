"""Explains faults of the machine, such as a killed process, in one line with the likely cause."""

import re
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mvit_det.engine.children import LESS_MEMORY, OUT_OF_MEMORY, PATIENCE
from mvit_det.engine.ending import ENDING
from mvit_det.engine.interruption import defer_interrupts
from mvit_det.engine.launchers import find_launch
from mvit_det.errors import InputError, RunError, causes, find_disk_error
from mvit_det.files import describe_disk_error

# torch.utils.data says "DataLoader worker (pid 7) is killed by signal: Killed. " or "DataLoader worker
# (pid(s) 7, 8) exited unexpectedly".
WORKER = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (?:is killed by signal: ([^.]+)|exited)")
NO_MEMORY = re.compile(r"can't allocate memory: you tried to allocate (\d+) bytes")
NO_SHARED_MEMORY = re.compile(r"Bus error|torch_\d+_\d+_\d+>?: No space left on device")
NO_DESCRIPTORS = re.compile(r"Too many open files|received \d+ items of ancdata")
CONNECTION = re.compile(r"gloo/transport|Connection (closed|reset) by peer|Broken pipe")

_is_active = False  # whether a context of explained_faults is open


@contextmanager
def explained_faults(folder: Path | None = None) -> Iterator[None]:
    """Turn a fault of the machine into one line, which also says how to continue the run.

    Faults are errors of the disk, a lack of memory, and the death of a loading process or of another process
    of the run. Inside of another such context, nothing happens.

    Args:
        folder: the folder that a command writes to, whose free space is named.

    Raises:
        RunError: in place of the exception that Python or PyTorch raises.
    """
    global _is_active
    if _is_active:
        yield
        return
    _is_active = True
    try:
        yield
    except Exception as error:
        if find_launch() is not None:
            if _is_lost_connection(error):
                _wait_for_end()
            else:
                _is_first_to_report()  # so that the others, which lose their connection now, print nothing
        explanation = _explain(error, folder)
        if explanation is None:
            raise
        raise RunError(ENDING.add_how_to_continue(explanation)) from error
    finally:
        _is_active = False


def _explain(error: Exception, folder: Path | None) -> str | None:
    """Return what an exception means, or None if it is not due to a fault of the machine."""
    if isinstance(error, InputError):
        return None
    # Loggers may fail too while they are closed because of the first error.
    known = next((cause for cause in causes(error) if isinstance(cause, RunError)), None)
    disk_error = find_disk_error(error)
    if known is not None:
        return str(known)
    if disk_error is not None:
        parts = [disk_error.filename or folder, describe_disk_error(disk_error, folder)]
        return ": ".join(str(part) for part in parts if part)
    if any(NO_DESCRIPTORS.search(str(cause)) for cause in causes(error)):
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        remedy = "raise the limit with ulimit -n, or use fewer loading processes"
        return f"more than {limit} open files are needed; {remedy}"
    if isinstance(error, MemoryError):
        return f"the memory of the machine ran out; {LESS_MEMORY}"
    return _explain_message(str(error)) if isinstance(error, RuntimeError) else None


def _explain_message(message: str) -> str | None:
    """Return what a message of PyTorch means, or None if it is another one."""
    if NO_SHARED_MEMORY.search(message):
        return f"the shared memory (/dev/shm) is full; {LESS_MEMORY}; --shm-size gives a container more"
    worker = WORKER.search(message)
    if worker is not None:
        process, name = f"a loading process (pid {worker[1]})", worker[2]
        if name is None or name == "Killed":
            return f"{process} was killed, {OUT_OF_MEMORY}"
        return f"{process} died: {name}; without loading processes, the error message may be more precise"
    memory = NO_MEMORY.search(message)
    if memory is not None:
        gigabytes = int(memory[1]) / 1e9
        return f"the memory of the machine ran out: {gigabytes:.2f} GB more were needed; {LESS_MEMORY}"
    if CONNECTION.search(message):
        return f"another process of the run has ended; if it printed no error, it was killed, {OUT_OF_MEMORY}"
    return None


def _is_lost_connection(error: Exception) -> bool:
    # Compared by name, because this module must not import torch.
    is_distributed = any(base.__name__ == "DistError" for base in type(error).__mro__)
    return is_distributed or (isinstance(error, RuntimeError) and CONNECTION.search(str(error)) is not None)


def _wait_for_end() -> None:
    """Wait to be ended by the parent process or the launcher, which know which process has died.

    Raises:
        SystemExit: if another process prints the line.
    """
    defer_interrupts(True)
    deadline = time.monotonic() + PATIENCE + 2
    while not ENDING.is_interrupted and time.monotonic() < deadline:
        time.sleep(0.1)
    ENDING.is_silent = not _is_first_to_report()
    ENDING.claim()
    if ENDING.is_silent:
        raise SystemExit(1)


def _is_first_to_report() -> bool:
    """Return whether this process is the first of the run to call this function."""
    try:
        store = sys.modules["torch.distributed"].distributed_c10d._get_default_store()
        return int(store.add("mvit_det/lost_connection", 1)) == 1
    except Exception:  # the store has ended with process 0, which holds it unless torchrun does
        launch = find_launch()
        return launch is None or launch.rank <= 1
