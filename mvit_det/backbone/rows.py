"""Work on the last axis of maps that a CPU does in parts which stay in its cache."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mvit_det.backbone.precision import cast

# Measured, see docs/performance.md.
CACHED_ELEMENTS = 2**21
MIN_ROWS = 2048


def cached_elements(dtype: torch.dtype) -> int:
    """Return how many elements a CPU works on at a time best: in half precision, many."""
    return CACHED_ELEMENTS * 4 if dtype.itemsize == 2 else CACHED_ELEMENTS


def split(x: Tensor, width: int) -> tuple[Tensor, ...]:
    """Return the rows of ``x`` (..., C) in parts (rows, C), for work that holds ``width`` elements of a row.

    On a CPU they are as many as its cache holds, else all.
    """
    rows = x.flatten(0, -2)
    is_cpu = x.device.type == "cpu"
    return rows.split(max(MIN_ROWS, cached_elements(x.dtype) // width) if is_cpu else len(rows))


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
    """Return ``F.linear(x, weight, bias)``; on a CPU without torch's extra pass for the bias."""
    x = cast(x)
    if bias is None or x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.linear(x, weight, bias)
    if x.dtype == torch.float32:
        return F.linear(x, weight).add_(bias)
    if x.dtype == torch.bfloat16 and not torch.is_grad_enabled() and _has_onednn():
        return torch.ops.mkldnn._linear_pointwise(x, weight.to(x), bias.to(x), "none", [], "")
    return F.linear(x, weight, bias)


def _has_onednn() -> bool:
    """Return whether oneDNN multiplies bfloat16 here, and torch passes it what its own compiler does."""
    operators = torch.ops.mkldnn
    return hasattr(operators, "_linear_pointwise") and operators._is_mkldnn_bf16_supported()
