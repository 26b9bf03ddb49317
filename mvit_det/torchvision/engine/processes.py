"""The processes of a run on several devices."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from rich.console import Console

from mvit_det.errors import InputError


def process_rank() -> int:
    """Return the rank of this process, which Lightning passes to the processes that it starts."""
    return int(os.environ.get("LOCAL_RANK", 0))


def build_console() -> Console:
    """Return a console on stderr that only the first process prints to."""
    return Console(stderr=True, quiet=process_rank() != 0, markup=False)


def check_devices(devices: int) -> None:
    """Raise an InputError if the machine has GPUs, but fewer than ``devices``.

    Without a GPU, any number of processes can share the CPU.
    """
    if torch.cuda.is_available() and devices > torch.cuda.device_count():
        raise InputError(f"devices {devices}: this machine has {torch.cuda.device_count()} GPUs")


@contextmanager
def single_interrupt() -> Iterator[None]:
    """Make an interrupt a KeyboardInterrupt in the first process, and a silent exit in all others.

    Otherwise each of the processes that Lightning starts would report it. Lightning itself turns Ctrl-C and
    SIGTERM into a SystemExit.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as interrupt:
        if process_rank() != 0:
            sys.exit(1)
        if isinstance(interrupt, SystemExit):
            raise KeyboardInterrupt from None
        raise
