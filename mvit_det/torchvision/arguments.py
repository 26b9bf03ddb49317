"""Checks of the arguments of a detector."""

from collections.abc import Callable
from numbers import Integral, Real

import torch


def check_integer(name: str, value: int, minimum: int) -> None:
    """Raise a ValueError if a value is not an integer of at least ``minimum``."""
    if not isinstance(value, Integral) or value < minimum:
        raise ValueError(f"{name} {value!r}: must be an integer of at least {minimum}")


def check_number(name: str, value: float, is_valid: Callable[[float], bool], expected: str) -> None:
    """Raise a ValueError if a value is not a number or not valid. The message says what is expected."""
    if not isinstance(value, Real) or not is_valid(value):
        raise ValueError(f"{name} {value!r}: must be a number {expected}")


def choose_device(device: str | torch.device) -> torch.device:
    """Return a device of PyTorch; for "auto", a GPU if there is one.

    Raises:
        ValueError: if there is no such device.
    """
    has_gpu = torch.cuda.is_available()
    if device == "auto":
        return torch.device("cuda" if has_gpu else "cpu")
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError):
        chosen = None
    if chosen is None or chosen.type not in ("cpu", "cuda"):
        raise ValueError(f"device {device!r}: must be auto, cpu, cuda or cuda:N")
    if chosen.type == "cuda" and not has_gpu:
        raise ValueError(f"device {device!r}: PyTorch finds no GPU")
    return chosen
