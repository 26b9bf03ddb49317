"""Constant tensors that depend only on sizes, kept between calls."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any

import torch
from torch import Tensor


def cached_constant(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Keep the last results of a function of sizes; a compiler folds such constants by itself."""
    cached = lru_cache(maxsize=32)(make)

    @wraps(make)
    def get(*args: Any) -> Tensor:
        if torch.compiler.is_compiling():
            return make(*args)
        with torch.inference_mode(False):  # else what is kept could not take part in training later
            return cached(*args)

    return get


@cached_constant
def one_hot_positions(k_hw: tuple[int, int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the row and the column of every key of a map as one-hot vectors, (h * w, h + w).

    Times a query's biases, first those of the h rows, then those of the w columns, they give the
    bias of each key: this makes the decomposed bias a part of the product of queries and keys.
    """
    height, width = k_hw
    rows = torch.eye(height, dtype=dtype, device=device).repeat_interleave(width, dim=0)
    columns = torch.eye(width, dtype=dtype, device=device).repeat(height, 1)
    return torch.cat([rows, columns], dim=1)


@cached_constant
def one_hot_places(
    window: int, before: int, length: int, after: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return the place in its window of each token along an axis as one-hot vectors.

    (before * length * after, window): the axis has ``length`` tokens, in windows that follow each other; it
    is repeated for what lies ``before`` it in memory, images, and ``after`` it, heads.
    """
    place = torch.arange(length, device=device).repeat_interleave(after).repeat(before) % window
    return torch.eye(window, dtype=dtype, device=device)[place]
