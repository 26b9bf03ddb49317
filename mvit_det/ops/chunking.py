"""Chunks of a map that fit the cache of a CPU."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from mvit_det.ops.layers import has_hooks

# See docs/performance.md for the measurements.
CACHED_ELEMENTS = 2**21
MIN_ROWS = 2048


def cached_elements(dtype: torch.dtype) -> int:
    """Return how many elements a CPU best works on at a time; four times as many in half precision."""
    return CACHED_ELEMENTS * 4 if dtype.itemsize == 2 else CACHED_ELEMENTS


def in_chunks(
    function: Callable[[Tensor], Tensor], x: Tensor, width: int, layers: Iterable[nn.Module] = ()
) -> Tensor:
    """Return ``function(x)``; on a CPU without gradients, compute it in chunks that fit the cache.

    Args:
        function: (..., C) -> (..., D), independently for each row.
        x: (..., C)
        width: the largest number of elements that ``function`` computes for a row.
        layers: the layers that ``function`` calls. If one has hooks, which expect whole maps, ``x`` is not
            split.

    Returns:
        (..., D)
    """
    if x.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return function(x)
    if has_hooks(*layers):
        return function(x)
    num_rows = max(MIN_ROWS, cached_elements(x.dtype) // width)
    chunks = x.flatten(0, -2).split(num_rows)
    return torch.cat([function(chunk) for chunk in chunks]).unflatten(0, x.shape[:-1])
