"""How this process ends: with one line that says how to continue, and without leaving others behind."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from mvit_det.errors import MAX_FAULT, ImageError, message_of, printable

FindCheckpoint = Callable[[], Path | None]


@dataclass
class Ending:
    """What this process prints if it ends early, and which processes it ends then.

    Attributes:
        program: name of the program, at the start of the line.
        is_silent: whether another process of the run prints the line.
        resume: the command that continues the run, or starts it again if there is no checkpoint; empty for a
            command without one.
        find_checkpoint: function that returns the checkpoint to continue from, or None if there is none yet;
            None outside of a run.
        saved_step: number of steps in the checkpoint that was saved because of the interrupt.
        requeued: phrase that says whether Slurm requeues the job; empty if it was not asked to.
        is_interrupted: whether a signal has arrived, so that all processes are about to end.
        children: the other processes that this process has started.
    """

    program: str = ""
    is_silent: bool = False
    resume: str = ""
    find_checkpoint: FindCheckpoint | None = None
    saved_step: int | None = None
    requeued: str = ""
    is_interrupted: bool = False
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _reporting: threading.Lock = field(default_factory=threading.Lock)

    def how_to_continue(self) -> str:
        """Return the part of the line with the checkpoint and the command; empty outside of a run."""
        if self.find_checkpoint is None:
            return ""
        checkpoint = self.find_checkpoint()
        if checkpoint is None:
            parts = ["there is no checkpoint yet", f"to start again: {self.resume}" if self.resume else ""]
        else:
            saved = f"saved {checkpoint} after step {self.saved_step}"
            last = f"the last checkpoint is {checkpoint}"
            remedy = f"to continue: {self.resume}" if self.resume else ""
            parts = [last if self.saved_step is None else saved, self.requeued or remedy]
        return "; ".join(filter(None, parts))

    def add_how_to_continue(self, message: str) -> str:
        """Return a message followed by :meth:`how_to_continue`."""
        return "; ".join(filter(None, (message, self.how_to_continue())))

    def claim(self) -> bool:
        """Return whether the caller is to print the line: the first caller, unless :attr:`is_silent`."""
        return self._reporting.acquire(blocking=False) and not self.is_silent

    def end(self, message: str, status: int = 1) -> NoReturn:
        """Print ``message`` and how to continue, unless a line has been printed, and end at once.

        Python's cleanup is skipped, because it can wait for a thread or a process that hangs.
        """
        if self.claim():
            line = printable(f"{self.program}: {self.add_how_to_continue(message)}", MAX_FAULT)
            with suppress(OSError):
                os.write(2, f"{line}\n".encode(errors="backslashreplace"))
        else:
            time.sleep(0.2)  # another thread may be printing
        self.kill_children()
        os._exit(status)

    def kill_children(self) -> None:
        """End the other processes of the run that this process has started."""
        for child in self.children:
            with suppress(OSError):
                child.kill()

    def reset(self) -> None:
        """Reset everything but the other processes, for which this process still waits when it exits."""
        self.__init__(children=self.children)  # type: ignore[misc]


ENDING = Ending()  # of this process


@contextmanager
def resumable(find_checkpoint: FindCheckpoint) -> Iterator[None]:
    """Return a context in which the line of a process that ends early says how to continue the run.

    Args:
        find_checkpoint: function that returns the checkpoint to continue from, or None if there is none yet.

    Raises:
        ImageError: in place of an ImageError in the context, with a message that says how to continue.
    """
    before, ENDING.find_checkpoint = ENDING.find_checkpoint, find_checkpoint
    try:
        yield
    except ImageError as error:
        raise ImageError(ENDING.add_how_to_continue(message_of(error))) from None
    ENDING.find_checkpoint = before  # not after an exception, because the line needs it
