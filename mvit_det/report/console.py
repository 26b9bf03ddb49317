"""Progress on the terminal."""

from collections.abc import Iterable
from typing import TypeVar

from rich.console import Console
from rich.progress import track as rich_track

T = TypeVar("T")


def track(items: Iterable[T], total: int, description: str, console: Console) -> Iterable[T]:
    """Yield ``items``, with a bar where the console is a terminal."""
    hidden = not console.is_terminal
    return rich_track(items, description, total, console=console, transient=True, disable=hidden)
