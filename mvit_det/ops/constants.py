"""Constant tensors that depend only on sizes, dtype and device, cached between calls."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any

import torch
from torch import Tensor


def cached_constant(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Cache up to 32 results of a function. While compiling there is no cache: compilers fold constants."""
    cached = lru_cache(maxsize=32)(make)

    @wraps(make)
    def get(*args: Any) -> Tensor:
        if torch.compiler.is_compiling():
            return make(*args)
        with torch.inference_mode(False):  # an inference tensor could not take part in training later
            return cached(*args)

    return get


@cached_constant
def one_hot_positions(k_hw: tuple[int, int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the row and the column of every key of a window as one-hot vectors, (h * w, h + w).

    Multiplied by the concatenated row and column biases of a query, it gives the bias of every key. This
    makes the decomposed bias a part of the product of queries and keys.
    """
    height, width = k_hw
    row, column = torch.arange(height, device=device), torch.arange(width, device=device)
    rows = (row[:, None] == row)[:, None].expand(-1, width, -1)  # (h, w, h)
    columns = (column[:, None] == column).expand(height, -1, -1)  # (h, w, w)
    return torch.cat([rows, columns], dim=2).flatten(0, 1).to(dtype)


@cached_constant
def one_hot_offsets(
    window: int, outer: int, length: int, inner: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return, for each token, its offset within its window along an axis, as one-hot vectors.

    Args:
        window: length of a window, tokens.
        outer: product of the axes before this one in memory, such as images.
        length: length of the axis, tokens.
        inner: product of the axes after this one in memory, such as heads.

    Returns:
        (outer * length * inner, window)
    """
    offsets = torch.arange(length, device=device).repeat_interleave(inner).repeat(outer) % window
    return torch.eye(window, dtype=dtype, device=device)[offsets]
