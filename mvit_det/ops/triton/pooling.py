"""Pooling for GPUs, a depthwise convolution, as a part of a kernel, and its gradients, both in one pass."""

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE = 1024  # elements that a program holds, and for each tap of the convolution as many sums
PARTS = 1024  # programs, each with its sums for the gradient of the convolution's kernel
# What changes from map to map: what is compiled serves all.
SIZES = ["num_rows", "map_h", "map_w", "pooled_h", "pooled_w", "heads"]


def pooling_gradients(grad: Tensor, x: Tensor, kernel: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Return the gradients of ``x`` and of ``kernel``, given that of the pooled map.

    Args:
        grad: (N, h, w, heads, C), contiguous as ``x``.
        x: (N, H, W, heads, C)
        kernel: (C, 1, height, width), odd sides, of all heads; zeros surround the map.
        stride: of the convolution.
    """
    channels, (kernel_h, kernel_w) = x.shape[-1], kernel.shape[2:]
    padded_c = triton.next_power_of_2(channels)
    rows, num_rows = max(1, TILE // padded_c), x.numel() // channels
    parts = min(PARTS, triton.cdiv(num_rows, rows))
    grad_x = torch.empty_like(x)
    sums = torch.empty(parts, kernel_h * kernel_w, channels, dtype=torch.float32, device=x.device)
    sizes = [num_rows, *x.shape[1:3], *grad.shape[1:4]]
    with torch.cuda.device_of(x):  # else Triton takes the current GPU
        grad_pooling_kernel[(parts,)](
            x, kernel, grad, grad_x, sums, *sizes,
            C=channels, PADDED_C=padded_c, ROWS=rows, KERNEL_H=kernel_h, KERNEL_W=kernel_w, STRIDE=stride,
        )  # fmt: skip
    return grad_x, sums.sum(0).mT.reshape(kernel.shape).to(kernel.dtype)


@triton.jit
def _place(rows, height, width, heads):
    """Return image, row, column and head of rows of a map (N, height, width, heads, C)."""
    head, token = rows % heads, rows // heads
    column, token = token % width, token // width
    return token // height, token % height, column, head


@triton.jit
def pooled(
    x, kernel, rows, num_rows, map_h, map_w, pooled_h, pooled_w, heads, stride,
    C: tl.constexpr, PADDED_C: tl.constexpr, KERNEL_H: tl.constexpr, KERNEL_W: tl.constexpr,
):  # fmt: skip
    """Return rows (rows, PADDED_C) in float32, pooled if there is a kernel; zeros off the end."""
    channels = tl.arange(0, PADDED_C)
    is_channel = channels < C
    is_row = rows < num_rows
    if kernel is None:
        offsets = rows.to(tl.int64)[:, None] * C + channels
        return tl.load(x + offsets, is_row[:, None] & is_channel, other=0.0).to(tl.float32)
    image, pooled_y, pooled_x, head = _place(rows, pooled_h, pooled_w, heads)
    values = tl.zeros((rows.shape[0], PADDED_C), tl.float32)
    for tap in tl.static_range(KERNEL_H * KERNEL_W):
        map_y = pooled_y * stride + tap // KERNEL_W - KERNEL_H // 2
        map_x = pooled_x * stride + tap % KERNEL_W - KERNEL_W // 2
        on_map = is_row & (map_y >= 0) & (map_y < map_h) & (map_x >= 0) & (map_x < map_w)
        tokens = ((image * map_h + map_y).to(tl.int64) * map_w + map_x) * heads + head
        inputs = tl.load(x + tokens[:, None] * C + channels, on_map[:, None] & is_channel, other=0.0)
        weights = tl.load(kernel + channels * (KERNEL_H * KERNEL_W) + tap, is_channel, other=0.0)
        values += inputs.to(tl.float32) * weights.to(tl.float32)
    return values


@triton.jit(do_not_specialize=SIZES)
def grad_pooling_kernel(
    x, kernel, grad, grad_x, sums, num_rows, map_h, map_w, pooled_h, pooled_w, heads,
    C: tl.constexpr, PADDED_C: tl.constexpr, ROWS: tl.constexpr,
    KERNEL_H: tl.constexpr, KERNEL_W: tl.constexpr, STRIDE: tl.constexpr,  # a constant, as it divides
):  # fmt: skip
    """Write the gradients of rows of the map, and this program's sums for those of the taps."""
    channels = tl.arange(0, PADDED_C)
    is_channel = channels < C
    totals = (tl.zeros((ROWS, PADDED_C), tl.float32),) * (KERNEL_H * KERNEL_W)
    part, parts = tl.program_id(0), tl.num_programs(0)
    for first in range(part * ROWS, num_rows, parts * ROWS):
        rows = first + tl.arange(0, ROWS)
        image, map_y, map_x, head = _place(rows, map_h, map_w, heads)
        offsets = rows.to(tl.int64)[:, None] * C + channels
        mask = (rows < num_rows)[:, None] & is_channel
        inputs = tl.load(x + offsets, mask, other=0.0).to(tl.float32)
        found = tl.zeros((ROWS, PADDED_C), tl.float32)
        added = totals[:0]  # Triton cannot assign to an element
        for tap in tl.static_range(KERNEL_H * KERNEL_W):
            # Where the kernel's centre is with this token under this tap: if on the stride, a pooled token.
            centre_y = map_y + KERNEL_H // 2 - tap // KERNEL_W
            centre_x = map_x + KERNEL_W // 2 - tap % KERNEL_W
            pooled_y, pooled_x = centre_y // STRIDE, centre_x // STRIDE
            is_pooled = (centre_y >= 0) & (centre_y % STRIDE == 0) & (pooled_y < pooled_h)
            is_pooled &= (centre_x >= 0) & (centre_x % STRIDE == 0) & (pooled_x < pooled_w)
            tokens = ((image * pooled_h + pooled_y).to(tl.int64) * pooled_w + pooled_x) * heads + head
            grads = tl.load(grad + tokens[:, None] * C + channels, mask & is_pooled[:, None], other=0.0)
            grads = grads.to(tl.float32)
            weights = tl.load(kernel + channels * (KERNEL_H * KERNEL_W) + tap, is_channel, other=0.0)
            found += grads * weights.to(tl.float32)
            added += (totals[tap] + grads * inputs,)
        totals = added
        tl.store(grad_x + offsets, found.to(grad_x.dtype.element_ty), mask)
    for tap in tl.static_range(KERNEL_H * KERNEL_W):
        tap_of_part = part * (KERNEL_H * KERNEL_W) + tap
        tl.store(sums + tap_of_part * C + channels, tl.sum(totals[tap], 0), is_channel)
