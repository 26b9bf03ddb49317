"""Norms, with or without pooling before them: our Triton kernel where it runs, torch's operators elsewhere.

Under autocast on a GPU torch's LayerNorm gives float32; our kernel gives the dtype of its input.
"""

from typing import TypeGuard

import torch
from torch import Tensor, nn

from mvit_det.ops.availability import has_triton
from mvit_det.ops.reference import pool


def normalise(norm: nn.Module, x: Tensor) -> Tensor:
    """Return ``norm(x)``; any other layer over the last axis, such as an activation, will do."""
    if not has_norm_kernel(norm, x):
        return norm(x)
    from mvit_det.ops.triton.norm import triton_norm

    return triton_norm(x, norm.weight, norm.bias, norm.eps)


def pool_and_norm(x: Tensor, conv: nn.Conv2d, norm: nn.Module) -> Tensor:
    """Pool a map as :func:`mvit_det.ops.reference.pool` and normalise each head's channels.

    (N, H, W, heads, C) -> (N, h, w, heads, C); ``conv`` has odd sides, half of which it pads, and one stride.
    """
    if not has_norm_kernel(norm, x):
        return norm(pool(x, conv.weight, conv.stride[0]))
    from mvit_det.ops.triton.norm import triton_pooled_norm

    return triton_pooled_norm(x, conv.weight, norm.weight, norm.bias, norm.eps, conv.stride[0])


def has_norm_kernel(norm: nn.Module, x: Tensor) -> TypeGuard[nn.LayerNorm]:
    """Return whether our kernel can take the place of a layer; a compiler has its own."""
    if torch.compiler.is_compiling() or type(norm) is not nn.LayerNorm:
        return False
    return norm.weight is not None and norm.bias is not None and has_triton(x.device.type, x.dtype)
