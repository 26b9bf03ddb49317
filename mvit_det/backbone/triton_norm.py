"""LayerNorm for GPUs, with or without the depthwise convolution that pools before it: a kernel each way.

Under autocast torch reads a half-precision map, writes it in float32, normalises that into a third and
rounds it into a fourth. Here a map is read once and written once, with all sums in float32; the backward
pass keeps the input alone, and pools and normalises it again.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE = 2048  # elements that a program holds
PARTS = 1024  # programs of the backward pass, each with its sums for the gradients of weight and bias
MAP = ["num_rows", "map_h", "map_w", "pooled_h", "pooled_w", "heads", "stride"]


def triton_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Return LayerNorm over the last axis of ``x`` (..., C), in its dtype."""
    return _PooledNorm.apply(x.contiguous(), None, weight, bias, eps, 1)


def triton_pooled_norm(
    x: Tensor, kernel: Tensor, weight: Tensor, bias: Tensor, eps: float, stride: int
) -> Tensor:
    """Return LayerNorm over each head's channels after a depthwise convolution, the same for all heads.

    Args:
        x: (N, H, W, heads, C)
        kernel: (C, 1, height, width), odd sides; zeros surround the map.
        weight: (C,), and so ``bias``.
        stride: of the convolution.

    Returns:
        (N, h, w, heads, C) in the dtype of ``x``, where h and w are H and W over the stride, rounded up.
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
        numbers, constants = _arguments(x, kernel, out, stride)
        grid = (triton.cdiv(numbers[0], constants["ROWS"]),)
        _normalise[grid](x, kernel, weight, bias, out, eps, *numbers, **constants)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, kernel, weight = ctx.saved_tensors
        grad = grad.contiguous()
        numbers, constants = _arguments(x, kernel, grad, ctx.stride)
        parts = min(PARTS, triton.cdiv(numbers[0], constants["ROWS"]))
        sums = torch.empty(2, parts, x.shape[-1], dtype=torch.float32, device=x.device)
        grad_x = torch.empty_like(grad)
        _grads[(parts,)](x, kernel, weight, grad, grad_x, sums, ctx.eps, *numbers, **constants)
        grad_kernel = None
        if kernel is not None:
            grad_x, grad_kernel = _convolution_backward(grad_x, x, kernel, ctx.stride)
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
    """Return the numbers and the constants that both kernels take."""
    channels = x.shape[-1]
    width = triton.next_power_of_2(channels)
    maps = [1] * 5 if kernel is None else [*x.shape[1:3], *out.shape[1:4]]
    sides = (0, 0) if kernel is None else (kernel.shape[2], kernel.shape[3])
    return [out.numel() // channels, *maps, stride], {
        "C": channels,
        "WIDTH": width,
        "ROWS": max(1, TILE // width),
        "KERNEL_H": sides[0],
        "KERNEL_W": sides[1],
    }


def _convolution_backward(grad: Tensor, x: Tensor, kernel: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Return the gradients of the map and of the kernel of one head."""
    heads, padding = x.shape[3], [kernel.shape[2] // 2, kernel.shape[3] // 2]
    repeated = kernel.to(x.dtype).repeat(heads, 1, 1, 1)
    grad_x, grad_repeated, _ = torch.ops.aten.convolution_backward(
        grad.flatten(3).permute(0, 3, 1, 2), x.flatten(3).permute(0, 3, 1, 2), repeated, None,
        [stride, stride], padding, [1, 1], False, [0, 0], len(repeated), [True, True, False],
    )  # fmt: skip
    grad_kernel = grad_repeated.unflatten(0, (heads, -1)).sum(0, dtype=torch.float32)
    return grad_x.permute(0, 2, 3, 1).reshape(x.shape), grad_kernel.to(kernel.dtype)


@triton.jit
def _rows(
    x, kernel, rows, num_rows, map_h, map_w, pooled_h, pooled_w, heads, stride,
    C: tl.constexpr, WIDTH: tl.constexpr, KERNEL_H: tl.constexpr, KERNEL_W: tl.constexpr,
):  # fmt: skip
    """Return rows (rows, WIDTH) in float32, pooled from the map if there is a kernel; zeros off the end."""
    channels = tl.arange(0, WIDTH)
    is_channel = channels < C
    is_row = rows < num_rows
    if KERNEL_H == 0:
        places = rows.to(tl.int64)[:, None] * C + channels
        return tl.load(x + places, is_row[:, None] & is_channel, other=0.0).to(tl.float32)
    head, token = rows % heads, rows // heads
    column, token = token % pooled_w, token // pooled_w
    row, image = token % pooled_h, token // pooled_h
    found = tl.zeros((rows.shape[0], WIDTH), tl.float32)
    for place in tl.static_range(KERNEL_H * KERNEL_W):
        y = row * stride + place // KERNEL_W - KERNEL_H // 2
        x_ = column * stride + place % KERNEL_W - KERNEL_W // 2
        is_there = is_row & (y >= 0) & (y < map_h) & (x_ >= 0) & (x_ < map_w)
        tokens = ((image * map_h + y).to(tl.int64) * map_w + x_) * heads + head
        values = tl.load(x + tokens[:, None] * C + channels, is_there[:, None] & is_channel, other=0.0)
        factors = tl.load(kernel + channels * (KERNEL_H * KERNEL_W) + place, is_channel, other=0.0)
        found += values.to(tl.float32) * factors.to(tl.float32)
    return found


@triton.jit
def _standardised(rows, eps, C: tl.constexpr, WIDTH: tl.constexpr):
    """Return rows with mean 0 and variance 1, and the inverses of their standard deviations."""
    is_channel = tl.arange(0, WIDTH) < C
    rows = tl.where(is_channel, rows - (tl.sum(rows, 1) / C)[:, None], 0.0)
    inverse = tl.rsqrt(tl.sum(rows * rows, 1) / C + eps)[:, None]
    return rows * inverse, inverse


@triton.jit(do_not_specialize=MAP)
def _normalise(
    x, kernel, weight, bias, out, eps, num_rows, map_h, map_w, pooled_h, pooled_w, heads, stride,
    C: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, KERNEL_H: tl.constexpr, KERNEL_W: tl.constexpr,
):  # fmt: skip
    places = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    rows = _rows(
        x, kernel, places, num_rows, map_h, map_w, pooled_h, pooled_w, heads, stride,
        C, WIDTH, KERNEL_H, KERNEL_W,
    )  # fmt: skip
    rows, _ = _standardised(rows, eps, C, WIDTH)
    channels = tl.arange(0, WIDTH)
    scale = tl.load(weight + channels, channels < C, other=0.0)
    shift = tl.load(bias + channels, channels < C, other=0.0)
    mask = (places < num_rows)[:, None] & (channels < C)
    found = (rows * scale + shift).to(out.dtype.element_ty)
    tl.store(out + places.to(tl.int64)[:, None] * C + channels, found, mask)


@triton.jit(do_not_specialize=MAP)
def _grads(
    x, kernel, weight, grad, grad_rows, sums, eps,
    num_rows, map_h, map_w, pooled_h, pooled_w, heads, stride,
    C: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, KERNEL_H: tl.constexpr, KERNEL_W: tl.constexpr,
):  # fmt: skip
    """Write the gradients of the rows before the norm, and this program's sums for weight and bias."""
    channels = tl.arange(0, WIDTH)
    scale = tl.load(weight + channels, channels < C, other=0.0)
    sum_weight, sum_bias = tl.zeros((ROWS, WIDTH), tl.float32), tl.zeros((ROWS, WIDTH), tl.float32)
    part, parts = tl.program_id(0), tl.num_programs(0)
    for first in range(part * ROWS, num_rows, parts * ROWS):
        places = first + tl.arange(0, ROWS)
        rows = _rows(
            x, kernel, places, num_rows, map_h, map_w, pooled_h, pooled_w, heads, stride,
            C, WIDTH, KERNEL_H, KERNEL_W,
        )  # fmt: skip
        rows, inverse = _standardised(rows, eps, C, WIDTH)
        mask = (places < num_rows)[:, None] & (channels < C)
        rows = tl.where(mask, rows, 0.0)  # without an eps, what is off the end is no number
        offsets = places.to(tl.int64)[:, None] * C + channels
        grads = tl.load(grad + offsets, mask, other=0.0).to(tl.float32)
        sum_weight += grads * rows
        sum_bias += grads
        grads *= scale
        grads -= (tl.sum(grads, 1)[:, None] + rows * tl.sum(grads * rows, 1)[:, None]) / C
        tl.store(grad_rows + offsets, (grads * inverse).to(grad_rows.dtype.element_ty), mask)
    tl.store(sums + part * C + channels, tl.sum(sum_weight, 0), channels < C)
    tl.store(sums + (parts + part) * C + channels, tl.sum(sum_bias, 0), channels < C)
