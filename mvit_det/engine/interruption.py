"""Handles SIGINT, SIGTERM, SIGHUP and Slurm's SIGUSR1: a command ends within seconds, with one line."""

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

from mvit_det.engine.children import SIGNALS, is_child, watch_parent
from mvit_det.engine.ending import ENDING
from mvit_det.engine.launchers import find_launch
from mvit_det.engine.loading_signals import leave_signals_to_parent

TIME_LIMIT = 8.0  # seconds from a signal until the process ends, whatever it is doing
REQUEUE_TIME_LIMIT = 100.0  # for SIGUSR1, which Slurm sends before the job reaches its own time limit
REPEAT_TIME = 2.0  # seconds in which several SIGINT count as one, because shells and launchers repeat them
STOP, REQUEUE = 1, 2  # requests to a training loop; if the processes have several, the largest counts

_active: "Interruption | None" = None  # of the command that this process runs


class Interruption:
    """The handler of the signals of this process.

    A signal raises a :class:`KeyboardInterrupt`. During training, it only sets :attr:`request`, which the
    training loop reads after each step. If the process has not ended after :data:`TIME_LIMIT`, or on a second
    SIGINT (Ctrl-C), the process exits at once.

    A process that another process of the run has started only sends the signal on to that process.

    Attributes:
        request: 0 (no request), :data:`STOP` or :data:`REQUEUE`.
        is_deferred: whether the training loop reads :attr:`request`, so that a signal raises nothing.
    """

    def __init__(self) -> None:
        self.request, self.is_deferred = 0, False
        self.time = -float("inf")
        self._timer: threading.Timer | None = None
        self.terminals = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if is_child():
            # SIGINT becomes SIGTERM: it may arrive late, and is no second Ctrl-C.
            os.kill(os.getppid(), signal.SIGTERM if number == signal.SIGINT else number)
            return
        is_repeated = time.monotonic() - self.time < REPEAT_TIME
        if self.request:
            if number == signal.SIGINT and not is_repeated:
                ENDING.end("interrupted twice")
            return
        if is_repeated:  # of a signal that was accepted
            return
        self.time = time.monotonic()
        ENDING.is_interrupted = True
        self.request = REQUEUE if number == signal.SIGUSR1 else STOP
        limit = TIME_LIMIT if self.request == STOP else REQUEUE_TIME_LIMIT
        self._timer = threading.Timer(limit, self._end)
        self._timer.daemon = True
        self._timer.start()
        if number == signal.SIGHUP:
            self._discard_output()
        if _is_importing(frame):
            self._end()
        if not self.is_deferred:
            raise KeyboardInterrupt

    def accept(self) -> None:
        """Forget the signal that has arrived."""
        if self._timer is not None:
            self._timer.cancel()
        self.request, ENDING.is_interrupted = 0, False

    def _discard_output(self) -> None:
        """Discard what is printed to a terminal that was closed, where printing would be an error."""
        for descriptor in self.terminals:
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)

    def _end(self) -> None:
        ENDING.end("interrupted" + (" in the middle of a step" if self.is_deferred else ""))


def requested() -> int:
    """Return the request that a signal made: 0 (none), :data:`STOP` or :data:`REQUEUE`."""
    return 0 if _active is None else _active.request


def is_handled() -> bool:
    """Return whether this module handles the signals of the process."""
    return _active is not None


def accept_interrupt() -> None:
    """Let the command go on after a KeyboardInterrupt that a signal has raised, and end as it usually does.

    This is for what only a signal ends, such as the stream of a camera.
    """
    if _active is not None:
        _active.accept()


def defer_interrupts(is_deferred: bool) -> None:
    """Set whether the caller calls :func:`requested`. If it does not, a signal raises KeyboardInterrupt.

    Raises:
        KeyboardInterrupt: if interrupts are no longer deferred, and a signal arrived while they were.
    """
    if _active is not None:
        _active.is_deferred = is_deferred
        if _active.request and not is_deferred:
            raise KeyboardInterrupt


@contextmanager
def deferred_interrupts() -> Iterator[None]:
    """Return a context in which a signal raises nothing; it raises a KeyboardInterrupt at the end.

    The context must be short, because the process ends at once after :data:`TIME_LIMIT`.
    """
    defer_interrupts(True)
    try:
        yield
    finally:
        defer_interrupts(False)


@contextmanager
def interruptible(program: str, resume: str = "") -> Iterator[None]:
    """Return a context for a command, in which signals are handled.

    The signals are SIGINT, SIGTERM, SIGHUP and, in a Slurm job, SIGUSR1.

    The context is for the main function of a process. If the process takes too long to end, or if another
    process of the run dies, it exits without Python's cleanup. Inside another such context and outside the
    main thread, only ``resume`` has an effect.

    Args:
        program: name of the program, at the start of the line that is printed.
        resume: the command that continues a run; see :class:`mvit_det.engine.ending.Ending`.

    Raises:
        KeyboardInterrupt: on a signal, with a message that says how to continue.
        SystemExit: on a signal, in a process that leaves the line to another process.
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
        # start_children blocked them in the processes that it started.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handled)
        yield
        if _active.request:  # a library has swallowed the exception
            raise KeyboardInterrupt
        is_done = True
    except KeyboardInterrupt:  # by a signal, or because the processes have agreed to stop
        _end_interrupted()
    except SystemExit:
        if not _active.request:
            raise
        _end_interrupted()
    finally:
        if not is_done:
            ENDING.kill_children()
            # Without this, garbage collection when Python exits takes seconds on a busy machine.
            atexit.register(gc.freeze)
        if not _active.request:  # otherwise, the process is about to end, and a second signal may come
            for number, handler in before.items():
                signal.signal(number, handler)
            sys.unraisablehook = unraisable
            ENDING.reset()
            _active = None


def _is_importing(frame: FrameType | None) -> bool:
    """Return whether a module is being imported, in which an exception may abort the process.

    The C++ code of an extension module may call Python while it is loaded, and not expect an interrupt.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _should_handle(number: signal.Signals) -> bool:
    """Return whether to handle a signal. Ignored signals, as after nohup or a shell's ``&``, stay ignored."""
    if number == signal.SIGUSR1 and "SLURM_JOB_ID" not in os.environ:
        return False
    return signal.getsignal(number) is not signal.SIG_IGN


def _end_interrupted() -> None:
    """Raise the exception that ends an interrupted process; its message is the line to print, if any."""
    message = ENDING.how_to_continue()
    if not ENDING.claim():
        raise SystemExit(1) from None
    raise KeyboardInterrupt(message) from None


def _ignore_interrupts(unraisable: Any) -> None:
    """Keep Python from printing an interrupt that a finalizer raised. The process still ends in time."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)


def _handle_fork() -> None:
    if _active is not None:
        leave_signals_to_parent(TIME_LIMIT + 1)


if hasattr(signal, "sigwaitinfo"):  # macOS does not have it, and does not fork loading processes
    os.register_at_fork(after_in_child=_handle_fork)
