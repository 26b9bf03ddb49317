"""Normalization over the last axis, and pooling followed by normalization.

In half precision on NVIDIA GPUs, LayerNorm runs as a Triton kernel, which returns the dtype of its input.
There, PyTorch's LayerNorm returns float32 under autocast.
"""

from functools import partial
from typing import TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mvit_det.ops.availability import has_triton
from mvit_det.ops.checkpointing import set_recomputation
from mvit_det.ops.layers import is_plain
from mvit_det.ops.pooling import is_depthwise_pool, pool


def normalize(norm: nn.Module, x: Tensor, recompute: bool = False) -> Tensor:
    """Return ``norm(x)``: (..., C) -> (..., C).

    Args:
        norm: a layer over the last axis.
        x: (..., C)
        recompute: whether the linear layers that read the result save ``x`` instead, and recompute the norm,
            if it is a plain :class:`torch.nn.LayerNorm`. With the Triton kernel they always do: recomputing
            costs no more than reading.
    """
    if can_use_triton_norm(norm, x):
        from mvit_det.ops.triton.norm import triton_norm

        out = triton_norm(x, norm.weight, norm.bias, norm.eps)
        set_recomputation(out, partial(triton_norm, eps=norm.eps), x, norm.weight, norm.bias)
        return out
    out = norm(x)
    if recompute and is_plain(norm, nn.LayerNorm):
        function = partial(_layer_norm, shape=norm.normalized_shape, eps=norm.eps)
        set_recomputation(out, function, x, norm.weight, norm.bias)
    return out


def pool_and_normalize(x: Tensor, conv: nn.Module, norm: nn.Module) -> Tensor:
    """Pool each head's channels with ``conv``, then normalize them with ``norm``.

    (N, H, W, heads, C) -> (N, h, w, heads, C); see :func:`mvit_det.ops.pooling.pool`.
    """
    if is_depthwise_pool(conv) and can_use_triton_norm(norm, x):
        from mvit_det.ops.triton.norm import triton_pooled_norm

        return triton_pooled_norm(x, conv.weight, norm.weight, norm.bias, norm.eps, conv.stride[0])
    return norm(pool(x, conv))


def can_use_triton_norm(norm: nn.Module, x: Tensor) -> TypeGuard[nn.LayerNorm]:
    """Return whether the Triton kernel can replace ``norm(x)``. While compiling it cannot."""
    if torch.compiler.is_compiling() or not is_plain(norm, nn.LayerNorm):
        return False
    return norm.weight is not None and norm.bias is not None and has_triton(x.device.type, x.dtype)


def _layer_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, shape: tuple[int, ...], eps: float
) -> Tensor:
    return F.layer_norm(x, shape, weight, bias, eps)
