"""Work on the last axis of maps that a CPU does in parts which stay in its cache."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mvit_det.backbone.precision import cast

# Measured, see docs/performance.md.
CACHED_ELEMENTS = 2**21
MIN_ROWS = 2048


def split(x: Tensor, width: int) -> tuple[Tensor, ...]:
    """Return the rows of ``x`` (..., C) in parts (rows, C), for work that holds ``width`` elements of a row.

    On a CPU they are as many as its cache holds, else all.
    """
    rows = x.flatten(0, -2)
    return rows.split(max(MIN_ROWS, CACHED_ELEMENTS // width) if x.device.type == "cpu" else len(rows))


def by_rows(function: Callable[[Tensor], Tensor], width: int, x: Tensor) -> Tensor:
    """Return ``function(x)``; without gradients it is computed in the parts of :func:`split`.

    Args:
        function: (..., C) -> (..., D), the same for every row.
        width: the largest number of elements of one row that it works with.
        x: (..., C)
    """
    if x.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return function(x)
    first, *others = split(x, width)
    found = function(first)
    out = found.new_empty(*x.shape[:-1], found.shape[-1])
    place, *places = split(out, width)
    place.copy_(found)
    for part, place in zip(others, places, strict=True):
        place.copy_(function(part))
    return out


def affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return ``F.linear(x, weight, bias)``, in float32 on a CPU without its extra pass over the output."""
    x = cast(x)
    if bias is None or x.dtype != torch.float32 or x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.linear(x, weight, bias)
    return F.linear(x, weight).add_(bias)  # torch would fill the output with the bias first
