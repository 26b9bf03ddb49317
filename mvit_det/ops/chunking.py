"""Work on the last axis of maps that a CPU does in parts which stay in its cache."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mvit_det.ops.autocast import cast

# Measured, see docs/performance.md.
CACHED_ELEMENTS = 2**21
MIN_ROWS = 2048


def cached_elements(dtype: torch.dtype) -> int:
    """Return how many elements a CPU best works on at a time: in half precision four times as many."""
    return CACHED_ELEMENTS * 4 if dtype.itemsize == 2 else CACHED_ELEMENTS


def by_rows(function: Callable[[Tensor], Tensor], width: int, x: Tensor) -> Tensor:
    """Return ``function(x)``; on a CPU without gradients it is computed in parts that its cache holds.

    Args:
        function: (..., C) -> (..., D), the same for every row.
        width: the largest number of elements of one row that it works with.
        x: (..., C)
    """
    if x.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return function(x)
    length = max(MIN_ROWS, cached_elements(x.dtype) // width)
    parts = x.flatten(0, -2).split(length)
    return torch.cat([function(part) for part in parts]).unflatten(0, x.shape[:-1])


def affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return ``F.linear(x, weight, bias)``; on a CPU without torch's extra pass for the bias."""
    x = cast(x)
    if bias is not None and x.device.type == "cpu" and not torch.compiler.is_compiling():
        if x.dtype == torch.float32:
            return F.linear(x, weight).add_(bias)
        if x.dtype == torch.bfloat16 and not torch.is_grad_enabled() and _has_onednn():
            return torch.ops.mkldnn._linear_pointwise(
                x, weight.to(x), bias.to(x).contiguous(), "none", [], ""
            )
    return F.linear(x, weight, bias)


def _has_onednn() -> bool:
    """Return whether oneDNN multiplies bfloat16 here, by the private operator that torch's compiler uses."""
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return False
    operators = torch.ops.mkldnn
    return hasattr(operators, "_linear_pointwise") and operators._is_mkldnn_bf16_supported()
