"""Work on the last axis of maps that a CPU does in parts which stay in its cache."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

# Measured, see docs/performance.md.
CACHED_ELEMENTS = 2**21
MIN_ROWS = 2048


def by_rows(function: Callable[[Tensor], Tensor], width: int, x: Tensor) -> Tensor:
    """Return ``function(x)``; without gradients a CPU computes it some rows at a time.

    Args:
        function: (..., C) -> (..., C), the same for every row.
        width: the largest number of elements of one row that it works with.
        x: (..., C)
    """
    if x.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return function(x)
    num_rows = max(MIN_ROWS, CACHED_ELEMENTS // width)
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    for part, place in zip(*(maps.flatten(0, -2).split(num_rows) for maps in (x, out)), strict=True):
        place.copy_(function(part))
    return out


def affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return ``F.linear(x, weight, bias)``, in float32 on a CPU without its extra pass over the output."""
    if bias is None or x.dtype != torch.float32 or x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.linear(x, weight, bias)
    return F.linear(x, weight).add_(bias)  # torch would fill the output with the bias first
