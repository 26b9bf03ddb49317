"""The processes of a run on one machine: one starts the others, and all end if one of them dies."""

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

from mvit_det.engine.ending import ENDING
from mvit_det.engine.launchers import Launch

LESS_MEMORY = "a smaller batch, smaller images or fewer loading processes need less"
OUT_OF_MEMORY = f"most likely because the memory of the machine ran out; {LESS_MEMORY}"  # why it was killed

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)  # those that a command handles
PARENT = "MVIT_DET_PARENT_PROCESS"  # environment variable with the id of the process that started this one
PERIOD = 0.5  # seconds between looks at the other processes
PATIENCE = 10.0  # seconds for a process to end by itself after another one has failed


def is_child() -> bool:
    """Return whether :func:`start_children` of another process of the run has started this process."""
    return os.environ.get(PARENT) == str(os.getppid())


def start_children(size: int, machine: int = 0, num_machines: int = 1) -> Launch:
    """Start the other processes of this machine, which run the same command as this process.

    Sets the environment variables of torchrun in all of them, and in this process, which becomes the first of
    the machine. MASTER_ADDR and MASTER_PORT, which several machines need, are used if they are set.

    Args:
        size: number of processes on this machine.
        machine: number of this machine.
        num_machines: number of machines, each with ``size`` processes.

    Returns:
        The place of this process among all.
    """
    address = os.environ.get("MASTER_ADDR", "127.0.0.1")
    port = int(os.environ.get("MASTER_PORT") or _free_port())
    launch = Launch(machine * size, size * num_machines, 0, size, address, port)
    launch.export()
    # A blocked signal stays pending in a child until the child has installed its handlers.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS if ENDING.program else ())
    try:
        for local_rank in range(1, size):
            environment = os.environ | {
                "RANK": str(launch.rank + local_rank),
                "LOCAL_RANK": str(local_rank),
                PARENT: str(os.getpid()),
            }
            command = [sys.executable, *sys.orig_argv[1:]]
            ENDING.children.append(subprocess.Popen(command, env=environment))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    atexit.register(wait_for_children)  # runs after what is registered later, such as closing the connection
    threading.Thread(target=_watch_children, name="watch-children", daemon=True).start()
    return launch


def wait_for_children() -> None:
    """Wait until the other processes that this process has started have ended, and end those that do not."""
    deadline = time.monotonic() + PATIENCE
    for child in ENDING.children:
        with suppress(subprocess.TimeoutExpired):
            child.wait(max(0.0, deadline - time.monotonic()))
    ENDING.kill_children()


def watch_parent() -> None:
    """End this process if the process that started it dies: another one of the run, torchrun or srun."""
    arguments = (os.getppid(), is_child())
    threading.Thread(target=_watch_parent, args=arguments, name="watch-parent", daemon=True).start()


def _watch_parent(parent: int, is_run: bool) -> None:
    while os.getppid() == parent:
        time.sleep(PERIOD)
    # A parent that exits normally has ended this process before, so the parent was killed.
    reporter = "1" if is_run else "0"
    ENDING.is_silent = os.environ.get("LOCAL_RANK") != reporter
    name = "process 0 of the run" if is_run else "the process that started this one"
    ENDING.end(f"error: {name} was killed, {OUT_OF_MEMORY}")


def _watch_children() -> None:
    """End this process and the others if one of them fails."""
    while True:
        time.sleep(PERIOD)
        for rank, child in enumerate(ENDING.children, start=1):
            status = child.poll()
            if not status:  # it is running, or has exited with status 0
                continue
            if status > 0:  # it has printed its error, or this process raises the same one
                time.sleep(PATIENCE)
            if ENDING.is_interrupted:  # this process ends within its own time limit
                return
            if status > 0:
                ENDING.claim()  # so that this process prints no other line
            ENDING.end(f"error: process {rank} of the run {describe_death(-status)}", max(status, 1))


def describe_death(number: int) -> str:
    """Return how the signal ``number`` ended a process."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    if number == signal.SIGKILL:
        return f"was killed ({name}), {OUT_OF_MEMORY}"
    return f"was killed by {name}"


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
