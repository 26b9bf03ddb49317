"""Faults of the machine that PyTorch reports in other words, as one line with the likely cause."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from torch import distributed

from mvit_det.engine.children import LESS_MEMORY, PATIENCE
from mvit_det.engine.ending import ENDING
from mvit_det.errors import RunError

# torch.utils.data says "DataLoader worker (pid 7) is killed by signal: Killed. " or "DataLoader worker
# (pid(s) 7, 8) exited unexpectedly".
WORKER = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (?:is killed by signal: ([^.]+)|exited)")
NO_MEMORY = re.compile(r"can't allocate memory: you tried to allocate (\d+) bytes")
CONNECTION = re.compile(r"gloo/transport|Connection (closed|reset) by peer|Broken pipe")


@contextmanager
def explained_faults() -> Iterator[None]:
    """Turn the death of a loading process or of another process, and a lack of memory, into a RunError.

    Raises:
        RunError: in place of the exception that PyTorch raises.
    """
    try:
        yield
    except MemoryError:
        raise RunError(
            ENDING.add_how_to_continue(f"the memory of the machine ran out; {LESS_MEMORY}")
        ) from None
    except RuntimeError as error:
        if isinstance(error, RunError):
            raise
        if _is_lost_connection(error):
            _wait_for_end()
        explanation = _explain(str(error))
        if explanation is None:
            raise
        raise RunError(ENDING.add_how_to_continue(explanation)) from error


def _explain(message: str) -> str | None:
    """Return what a message of PyTorch means, or None if it is another one."""
    worker = WORKER.search(message)
    if worker is not None:
        process, name = f"a loading process (pid {worker[1]})", worker[2]
        if name is None or name == "Killed":
            reason = "was killed, most likely because the memory of the machine ran out"
            return f"{process} {reason}; {LESS_MEMORY}"
        if name == "Bus error":
            return f"{process} found the shared memory (/dev/shm) full; {LESS_MEMORY}"
        return f"{process} died: {name}; without loading processes, the error may say more"
    memory = NO_MEMORY.search(message)
    if memory is not None:
        gigabytes = int(memory[1]) / 1e9
        return f"the memory of the machine ran out: {gigabytes:.2f} GB more were needed; {LESS_MEMORY}"
    if CONNECTION.search(message):
        return "another process of the run has ended, or cannot be reached"
    return None


def _is_lost_connection(error: RuntimeError) -> bool:
    if not distributed.is_initialized():
        return False
    return isinstance(error, distributed.DistError) or CONNECTION.search(str(error)) is not None


def _wait_for_end() -> None:
    """Wait to be ended by the process that knows which one has died, or that prints its own error.

    Raises:
        SystemExit: if nothing ends this process, and it is not the one that prints the line.
    """
    time.sleep(PATIENCE + 2)
    if ENDING.is_silent:
        raise SystemExit(1)
