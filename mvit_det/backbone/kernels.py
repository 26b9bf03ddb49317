"""Layers that our Triton kernels compute where these run, and torch elsewhere."""

import textwrap
import warnings
from functools import cache
from typing import TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def has_kernels(device: str, dtype: torch.dtype) -> bool:
    """Return whether our kernels run: in half precision, on NVIDIA GPUs where they give what torch gives."""
    return device == "cuda" and dtype in (torch.bfloat16, torch.float16) and _gpu_has_kernels()


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _gpu_has_kernels() -> bool:
    return _try_kernels()


@cache
def _try_kernels() -> bool:
    """Try them once: Triton may be missing, or lack the C compiler that it needs, or be wrong."""
    if torch.version.cuda is None or not torch.cuda.is_available():
        return False
    if torch.cuda.get_device_capability() < (8, 0):
        return False
    try:
        from mvit_det.backbone.triton_check import check_kernels

        check_kernels("cuda", torch.bfloat16)
    except Exception as error:
        text = textwrap.shorten(f"{type(error).__name__}: {error}", 200, placeholder=" ...")
        warnings.warn(f"our GPU kernels are left out, and torch's slower ones run ({text})", stacklevel=2)
        return False
    return True


def apply(layer: nn.Module, x: Tensor) -> Tensor:
    """Return ``layer(x)`` of a norm or an activation over the last axis."""
    if not _suits(layer, x):
        return layer(x)
    from mvit_det.backbone.triton_norm import triton_norm

    return triton_norm(x, layer.weight, layer.bias, layer.eps)


def pool_and_norm(x: Tensor, conv: nn.Conv2d, norm: nn.Module) -> Tensor:
    """Pool a map by a depthwise convolution, the same for all heads, and normalise each head's channels.

    (N, H, W, heads, C) -> (N, h, w, heads, C)
    """
    if _suits(norm, x):
        from mvit_det.backbone.triton_norm import triton_pooled_norm

        return triton_pooled_norm(x, conv.weight, norm.weight, norm.bias, norm.eps, conv.stride[0])
    heads = x.shape[3]
    weight = conv.weight.repeat(heads, 1, 1, 1)
    x = x.flatten(3).permute(0, 3, 1, 2)  # channels last in memory
    x = F.conv2d(x, weight, None, conv.stride, conv.padding, groups=x.shape[1])
    return norm(x.permute(0, 2, 3, 1).unflatten(-1, (heads, -1)))


def _suits(layer: nn.Module, x: Tensor) -> TypeGuard[nn.LayerNorm]:
    """Return whether our kernel for LayerNorm can take the place of a layer; a compiler has its own."""
    is_norm = type(layer) is nn.LayerNorm and layer.weight is not None and layer.bias is not None
    return is_norm and has_kernels(x.device.type, x.dtype) and not torch.compiler.is_compiling()
