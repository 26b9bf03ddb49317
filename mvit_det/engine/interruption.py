"""Interrupts by SIGINT and SIGTERM: a command ends with one line, within seconds, between two steps."""

import atexit
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from mvit_det.engine.children import is_child, watch_parent
from mvit_det.engine.ending import ENDING
from mvit_det.engine.launchers import find_launch

TIME_LIMIT = 8.0  # seconds from a signal until the process ends, whatever it is doing
REQUEUE_TIME_LIMIT = 100.0  # for Slurm's SIGUSR1, which comes as early as the user asked for
REPEAT_TIME = 2.0  # seconds in which signals count as one, as shells and launchers send several
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
STOP, REQUEUE = 1, 2  # what is asked of a run; the larger number wins

_active: "Interruption | None" = None  # that of the command that runs in this process


class Interruption:
    """The handler of the signals of this process.

    A signal raises a :class:`KeyboardInterrupt`, except during training: there, the training loop asks for
    :attr:`request` after each step. If the process has not ended after :data:`TIME_LIMIT`, or if a second
    signal comes, it is ended at once.

    A process that another process of the run has started passes a signal on to that one, which decides.

    Attributes:
        request: what is asked of the run: 0 (nothing), :data:`STOP` or :data:`REQUEUE`.
        is_deferred: whether the training loop asks for :attr:`request` itself.
    """

    def __init__(self) -> None:
        self.request, self.is_deferred = 0, False
        self.time, self.process = 0.0, os.getpid()

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if is_child():
            os.kill(os.getppid(), number)
            return
        if self.request:
            if time.monotonic() - self.time > REPEAT_TIME:
                ENDING.end("interrupted twice")
            return
        self.time = time.monotonic()
        ENDING.is_interrupted = True
        self.request = REQUEUE if number == signal.SIGUSR1 else STOP
        limit = TIME_LIMIT if self.request == STOP else REQUEUE_TIME_LIMIT
        timer = threading.Timer(limit, self._end)
        timer.daemon = True
        timer.start()
        if not self.is_deferred:
            raise KeyboardInterrupt

    def _end(self) -> None:
        ENDING.end("interrupted" + (" in the middle of a step" if self.is_deferred else ""))


def requested() -> int:
    """Return what a signal has asked of this process: 0 (nothing), :data:`STOP` or :data:`REQUEUE`."""
    return 0 if _active is None else _active.request


def is_handled() -> bool:
    """Return whether the signals of this process are handled here."""
    return _active is not None


def defer_interrupts(is_deferred: bool) -> None:
    """Set whether the caller asks for :func:`requested` itself; otherwise, a signal raises KeyboardInterrupt.

    Raises:
        KeyboardInterrupt: if interrupts are no longer deferred, and a signal has come in the meantime.
    """
    if _active is not None:
        _active.is_deferred = is_deferred
        if _active.request and not is_deferred:
            raise KeyboardInterrupt


@contextmanager
def interruptible(program: str, resume: str = "") -> Iterator[None]:
    """Return a context for a command, in which SIGINT, SIGTERM and, in a Slurm job, SIGUSR1 are handled.

    It is for a process of its own: the process ends without Python's own ending if that takes too long, and
    if another process of the run dies. Inside of another such context, only ``resume`` has an effect; outside
    of the main thread, nothing has.

    Args:
        program: name at the start of the line.
        resume: the command that continues a run; see :class:`mvit_det.engine.ending.Ending`.

    Raises:
        KeyboardInterrupt: on a signal, with a message that says how to continue.
        SystemExit: on a signal, in a process whose line another process prints.
    """
    global _active
    launch = find_launch()
    if resume:
        is_of_launcher = launch is not None and not is_child()  # the command is that of torchrun or srun
        ENDING.resume = "the same command with --resume" if is_of_launcher else resume
    if _active is not None or threading.current_thread() is not threading.main_thread():
        yield
        return
    ENDING.program = program
    ENDING.is_silent = launch is not None and launch.rank > 0
    handled = [number for number in SIGNALS if _should_handle(number)]
    _active = Interruption()
    before = {number: signal.signal(number, _active.handle) for number in handled}
    unraisable, sys.unraisablehook = sys.unraisablehook, _ignore_interrupts
    if is_child() or launch is not None:
        watch_parent()
    is_done = False
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handled)  # blocked until here in a process of a run
        yield
        if _active.request:  # a library has swallowed the exception
            raise KeyboardInterrupt
        is_done = True
    except KeyboardInterrupt:  # of this process, or of another one with which it has agreed
        _end_interrupted()
    except SystemExit:
        if not _active.request:
            raise
        _end_interrupted()
    finally:
        if not is_done:
            ENDING.kill_children()
            # Without this, the garbage collections at Python's end take seconds on a busy machine.
            atexit.register(gc.freeze)
        if not _active.request:  # otherwise, the process is about to end, and a second signal may come
            for number, handler in before.items():
                signal.signal(number, handler)
            sys.unraisablehook = unraisable
            ENDING.reset()
            _active = None


def _should_handle(number: signal.Signals) -> bool:
    """Return whether a signal is ours: it is not if it is ignored, as nohup and a shell's ``&`` do."""
    if number == signal.SIGUSR1 and "SLURM_JOB_ID" not in os.environ:
        return False
    return signal.getsignal(number) is not signal.SIG_IGN


def _end_interrupted() -> None:
    """Raise the exception with which an interrupted process ends, with its line if it is to print one."""
    message = ENDING.how_to_continue()
    if not ENDING.claim():
        raise SystemExit(1) from None
    raise KeyboardInterrupt(message) from None


def _ignore_interrupts(unraisable: Any) -> None:
    """Keep Python from printing an interrupt that came in a finalizer. The process still ends in time."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)


def _ignore_in_worker() -> None:
    """Leave it to the parent process when a loading process ends.

    A terminal or a job system sends signals to all processes. If a loading process died of one, the parent
    would fail in the middle of a step.
    """
    if _active is None:
        return
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)
    # Blocked, because torch.utils.data sets a handler of its own later.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_worker, args=(os.getppid(),), name="end-worker", daemon=True).start()


def _end_worker(parent: int) -> None:
    """End this loading process if its parent asks for it, or after the time that the parent itself has."""
    if signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        time.sleep(TIME_LIMIT + 1)
    os._exit(0)


if hasattr(signal, "sigwaitinfo"):  # macOS does not have it, and does not fork loading processes
    os.register_at_fork(after_in_child=_ignore_in_worker)
