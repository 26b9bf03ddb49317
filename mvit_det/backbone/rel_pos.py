"""Decomposed relative positions: one table per axis, resized to the size at hand."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def _kept(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Keep the last results of a function of sizes; a compiler folds such constants by itself."""
    cached = lru_cache(maxsize=32)(make)

    @wraps(make)
    def get(*args: Any) -> Tensor:
        if torch.compiler.is_compiling():
            return make(*args)
        with torch.inference_mode(False):  # else what is kept could not take part in training later
            return cached(*args)

    return get


def relative_rows(table: Tensor, q_size: int, k_size: int) -> Tensor:
    """Return, for every query and key along one axis, the table row of their distance.

    Args:
        table: (L, C), row L // 2 stands for distance 0; resized linearly where
            L is not 2 * max(q_size, k_size) - 1.
        q_size: queries along the axis.
        k_size: keys along the axis.

    Returns:
        (q_size, k_size, C)

    Source: MViTv2 paper, section 4.1, equation 4.
    """
    length = 2 * max(q_size, k_size) - 1
    if torch.compiler.is_compiling() or table.shape[0] != length:  # compiled, one graph for every size
        table = F.interpolate(table.T[None], size=length, mode="linear")[0].T
    return table[_distances(q_size, k_size, table.device)]


@_kept
def _distances(q_size: int, k_size: int, device: torch.device) -> Tensor:
    """Return the table row for every query and key, (q_size, k_size) int64.

    Distances are measured on the finer of the two grids and rounded towards zero, in float32 as
    the published models were trained.
    """
    q_step, k_step = max(k_size / q_size, 1.0), max(q_size / k_size, 1.0)
    q = torch.arange(q_size, device=device, dtype=torch.float32) * q_step
    k = torch.arange(k_size, device=device, dtype=torch.float32) * k_step
    return ((q[:, None] - k[None, :]) + (k_size - 1) * k_step).long()


@_kept
def one_hot_positions(k_hw: tuple[int, int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the row and the column of every key of a map as one-hot vectors, (h * w, h + w).

    Times a query's biases, first those of the h rows, then those of the w columns, they give the
    bias of each key: this makes the decomposed bias a part of the product of queries and keys.
    """
    height, width = k_hw
    rows = torch.eye(height, dtype=dtype, device=device).repeat_interleave(width, dim=0)
    columns = torch.eye(width, dtype=dtype, device=device).repeat(height, 1)
    return torch.cat([rows, columns], dim=1)


@_kept
def one_hot_places(
    window: int, before: int, length: int, after: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return the place in its window of each token along an axis as one-hot vectors.

    (before * length * after, window): the axis has ``length`` tokens, in windows that follow each other; it
    is repeated for what lies ``before`` it in memory, images, and ``after`` it, heads.
    """
    place = torch.arange(length, device=device).repeat_interleave(after).repeat(before) % window
    return torch.eye(window, dtype=dtype, device=device)[place]
