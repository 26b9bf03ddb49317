"""Triton kernels of LayerNorm, optionally fused with the pooling convolution before it.

Under autocast, PyTorch's operators read a half-precision map, write it in float32, normalize that into a
third map, and round it into a fourth. These kernels read and write a map once, and accumulate in float32.
Only the input is saved for the backward pass, which recomputes pooling and normalization.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from mvit_det.ops.triton.pooling import load_pooled, pooling_gradients

TILE = 2048  # elements per tile
MAX_PROGRAMS = 1024  # of the backward pass; each writes partial sums of the gradients of weight and bias
# Not specialized: one compiled kernel serves maps of all sizes.
SIZES = ["num_rows", "map_h", "map_w", "pooled_h", "pooled_w", "heads", "stride"]


def triton_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Return LayerNorm over the last axis of ``x`` (..., C), in its dtype."""
    return _PooledNorm.apply(x.contiguous(), None, weight, bias, eps, 1)


def triton_pooled_norm(
    x: Tensor, kernel: Tensor, weight: Tensor, bias: Tensor, eps: float, stride: int
) -> Tensor:
    """Return LayerNorm over each head's channels, after a depthwise convolution that all heads share.

    Args:
        x: (N, H, W, heads, C)
        kernel: weight of the convolution, (C, 1, height, width) with odd sides. The padding is half its size.
        weight: (C,), of the norm.
        bias: (C,), of the norm.
        eps: added to the variance.
        stride: of the convolution.

    Returns:
        (N, ceil(H / stride), ceil(W / stride), heads, C), in the dtype of ``x``.
    """
    return _PooledNorm.apply(x.contiguous(), kernel, weight, bias, eps, stride)


class _PooledNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, kernel: Tensor | None, weight: Tensor, bias: Tensor, eps: float, stride: int
    ) -> Tensor:
        ctx.save_for_backward(x, kernel, weight)
        ctx.eps, ctx.stride = eps, stride
        out = _empty(x, kernel, stride)
        sizes, constants = _arguments(x, kernel, out, stride)
        grid = (triton.cdiv(sizes[0], constants["ROWS"]),)
        with torch.cuda.device_of(x):  # Triton launches on the current GPU
            norm_kernel[grid](x, kernel, weight, bias, out, eps, *sizes, **constants)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, kernel, weight = ctx.saved_tensors
        grad = grad.contiguous()
        sizes, constants = _arguments(x, kernel, grad, ctx.stride)
        num_programs = min(MAX_PROGRAMS, triton.cdiv(sizes[0], constants["ROWS"]))
        sums = torch.empty(2, num_programs, x.shape[-1], dtype=torch.float32, device=x.device)
        grad_pooled = torch.empty_like(grad)
        with torch.cuda.device_of(x):
            grad_norm_kernel[(num_programs,)](
                x, kernel, weight, grad, grad_pooled, sums, ctx.eps, *sizes, **constants
            )
        grad_x, grad_kernel = grad_pooled, None
        if kernel is not None:
            grad_x, grad_kernel = pooling_gradients(grad_pooled, x, kernel, ctx.stride)
        grad_weight, grad_bias = sums.sum(1).to(weight.dtype)
        return grad_x, grad_kernel, grad_weight, grad_bias, None, None


def _empty(x: Tensor, kernel: Tensor | None, stride: int) -> Tensor:
    if kernel is None:
        return torch.empty_like(x)
    n, height, width, heads, channels = x.shape
    return x.new_empty(n, triton.cdiv(height, stride), triton.cdiv(width, stride), heads, channels)


def _arguments(
    x: Tensor, kernel: Tensor | None, out: Tensor, stride: int
) -> tuple[list[int], dict[str, int]]:
    """Return the values of ``SIZES``, and the constants that both kernels take."""
    channels = x.shape[-1]
    padded_c = triton.next_power_of_2(channels)
    maps = [1] * 5 if kernel is None else [*x.shape[1:3], *out.shape[1:4]]
    kernel_h, kernel_w = (0, 0) if kernel is None else kernel.shape[2:]
    return [out.numel() // channels, *maps, stride], {
        "C": channels,
        "PADDED_C": padded_c,
        "ROWS": max(1, TILE // padded_c),
        "KERNEL_H": kernel_h,
        "KERNEL_W": kernel_w,
    }


@triton.jit
def _standardize(values, eps, C: tl.constexpr, PADDED_C: tl.constexpr):
    """Return rows with mean 0 and variance 1, and the reciprocals of their standard deviations, (rows, 1)."""
    is_channel = tl.arange(0, PADDED_C) < C
    values = tl.where(is_channel, values - (tl.sum(values, 1) / C)[:, None], 0.0)
    rstd = tl.rsqrt(tl.sum(values * values, 1) / C + eps)[:, None]
    return values * rstd, rstd


@triton.jit(do_not_specialize=SIZES)
def norm_kernel(
    x, kernel, weight, bias, out, eps, num_rows, map_h, map_w, pooled_h, pooled_w, heads, stride,
    C: tl.constexpr, PADDED_C: tl.constexpr, ROWS: tl.constexpr,
    KERNEL_H: tl.constexpr, KERNEL_W: tl.constexpr,
):  # fmt: skip
    """Normalize a tile of ``ROWS`` rows, each the channels of one head of one token."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    values = load_pooled(
        x, kernel, rows, num_rows, map_h, map_w, pooled_h, pooled_w, heads, stride,
        C, PADDED_C, KERNEL_H, KERNEL_W,
    )  # fmt: skip
    values, _ = _standardize(values, eps, C, PADDED_C)
    channels = tl.arange(0, PADDED_C)
    scale = tl.load(weight + channels, channels < C, other=0.0)
    shift = tl.load(bias + channels, channels < C, other=0.0)
    mask = (rows < num_rows)[:, None] & (channels < C)
    offsets = rows.to(tl.int64)[:, None] * C + channels
    tl.store(out + offsets, (values * scale + shift).to(out.dtype.element_ty), mask)


@triton.jit(do_not_specialize=SIZES)
def grad_norm_kernel(
    x, kernel, weight, grad, grad_pooled, sums, eps,
    num_rows, map_h, map_w, pooled_h, pooled_w, heads, stride,
    C: tl.constexpr, PADDED_C: tl.constexpr, ROWS: tl.constexpr,
    KERNEL_H: tl.constexpr, KERNEL_W: tl.constexpr,
):  # fmt: skip
    """Compute the gradients of the norm's input, and partial sums of those of weight and bias.

    A program loops over tiles of rows, and writes its partial sums at the end; ``sums`` is (2, programs, C).
    """
    channels = tl.arange(0, PADDED_C)
    scale = tl.load(weight + channels, channels < C, other=0.0)
    sum_weight, sum_bias = tl.zeros((ROWS, PADDED_C), tl.float32), tl.zeros((ROWS, PADDED_C), tl.float32)
    program, num_programs = tl.program_id(0), tl.num_programs(0)
    for first in range(program * ROWS, num_rows, num_programs * ROWS):
        rows = first + tl.arange(0, ROWS)
        values = load_pooled(
            x, kernel, rows, num_rows, map_h, map_w, pooled_h, pooled_w, heads, stride,
            C, PADDED_C, KERNEL_H, KERNEL_W,
        )  # fmt: skip
        values, rstd = _standardize(values, eps, C, PADDED_C)
        mask = (rows < num_rows)[:, None] & (channels < C)
        values = tl.where(mask, values, 0.0)  # beyond the last row they are 0 * inf if eps is 0
        offsets = rows.to(tl.int64)[:, None] * C + channels
        grads = tl.load(grad + offsets, mask, other=0.0).to(tl.float32)
        sum_weight += grads * values
        sum_bias += grads
        grads *= scale
        grads -= (tl.sum(grads, 1)[:, None] + values * tl.sum(grads * values, 1)[:, None]) / C
        tl.store(grad_pooled + offsets, (grads * rstd).to(grad_pooled.dtype.element_ty), mask)
    tl.store(sums + program * C + channels, tl.sum(sum_weight, 0), channels < C)
    tl.store(sums + (num_programs + program) * C + channels, tl.sum(sum_bias, 0), channels < C)
