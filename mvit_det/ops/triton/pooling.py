"""Triton code of pooling, a depthwise convolution: the forward pass for use in kernels, and the gradients.

One kernel computes the gradients of both the map and the weights.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE = 1024  # elements per tile; each tap of the convolution has an accumulator of this size
MAX_PROGRAMS = 1024  # each writes a partial sum of the gradient of the weights
# Not specialized: one compiled kernel serves maps of all sizes.
SIZES = ["num_rows", "map_h", "map_w", "pooled_h", "pooled_w", "heads"]


def pooling_gradients(grad: Tensor, x: Tensor, kernel: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Return the gradients of ``x`` and ``kernel``.

    Args:
        grad: gradient of the pooled map, (N, ceil(H / stride), ceil(W / stride), heads, C), contiguous.
        x: input of pooling, (N, H, W, heads, C), contiguous.
        kernel: weight of the convolution, (C, 1, height, width) with odd sides. The padding is half its size.
        stride: of the convolution.
    """
    channels, (kernel_h, kernel_w) = x.shape[-1], kernel.shape[2:]
    padded_c = triton.next_power_of_2(channels)
    rows, num_rows = max(1, TILE // padded_c), x.numel() // channels
    num_programs = min(MAX_PROGRAMS, triton.cdiv(num_rows, rows))
    grad_x = torch.empty_like(x)
    sums = torch.empty(num_programs, kernel_h * kernel_w, channels, dtype=torch.float32, device=x.device)
    sizes = [num_rows, *x.shape[1:3], *grad.shape[1:4]]
    with torch.cuda.device_of(x):  # Triton launches on the current GPU
        grad_pooling_kernel[(num_programs,)](
            x, kernel, grad, grad_x, sums, *sizes,
            C=channels, PADDED_C=padded_c, ROWS=rows, KERNEL_H=kernel_h, KERNEL_W=kernel_w, STRIDE=stride,
        )  # fmt: skip
    return grad_x, sums.sum(0).mT.reshape(kernel.shape).to(kernel.dtype)


@triton.jit
def _unravel(rows, height, width, heads):
    """Return the image, y, x and head of each row of a map (N, height, width, heads, C) seen as a matrix."""
    head, token = rows % heads, rows // heads
    x, token = token % width, token // width
    return token // height, token % height, x, head


@triton.jit
def load_pooled(
    x, kernel, rows, num_rows, map_h, map_w, pooled_h, pooled_w, heads, stride,
    C: tl.constexpr, PADDED_C: tl.constexpr, KERNEL_H: tl.constexpr, KERNEL_W: tl.constexpr,
):  # fmt: skip
    """Return rows of the pooled map, or of ``x`` if ``kernel`` is None: (rows, PADDED_C) in float32.

    Rows from ``num_rows`` on are zeros.
    """
    channels = tl.arange(0, PADDED_C)
    is_channel = channels < C
    is_row = rows < num_rows
    if kernel is None:
        offsets = rows.to(tl.int64)[:, None] * C + channels
        return tl.load(x + offsets, is_row[:, None] & is_channel, other=0.0).to(tl.float32)
    image, pooled_y, pooled_x, head = _unravel(rows, pooled_h, pooled_w, heads)
    values = tl.zeros((rows.shape[0], PADDED_C), tl.float32)
    for tap in tl.static_range(KERNEL_H * KERNEL_W):
        map_y = pooled_y * stride + tap // KERNEL_W - KERNEL_H // 2
        map_x = pooled_x * stride + tap % KERNEL_W - KERNEL_W // 2
        is_on_map = is_row & (map_y >= 0) & (map_y < map_h) & (map_x >= 0) & (map_x < map_w)
        tokens = ((image * map_h + map_y).to(tl.int64) * map_w + map_x) * heads + head
        inputs = tl.load(x + tokens[:, None] * C + channels, is_on_map[:, None] & is_channel, other=0.0)
        weights = tl.load(kernel + channels * (KERNEL_H * KERNEL_W) + tap, is_channel, other=0.0)
        values += inputs.to(tl.float32) * weights.to(tl.float32)
    return values


@triton.jit(do_not_specialize=SIZES)
def grad_pooling_kernel(
    x, kernel, grad, grad_x, sums, num_rows, map_h, map_w, pooled_h, pooled_w, heads,
    C: tl.constexpr, PADDED_C: tl.constexpr, ROWS: tl.constexpr,
    KERNEL_H: tl.constexpr, KERNEL_W: tl.constexpr, STRIDE: tl.constexpr,  # a constant is faster to divide by
):  # fmt: skip
    """Compute the gradient of the map, and partial sums of that of the weights.

    A program loops over tiles of rows of the map, and writes its partial sums at the end; ``sums`` is
    (programs, taps, C).
    """
    channels = tl.arange(0, PADDED_C)
    is_channel = channels < C
    acc_taps = (tl.zeros((ROWS, PADDED_C), tl.float32),) * (KERNEL_H * KERNEL_W)
    program, num_programs = tl.program_id(0), tl.num_programs(0)
    for first in range(program * ROWS, num_rows, num_programs * ROWS):
        rows = first + tl.arange(0, ROWS)
        image, map_y, map_x, head = _unravel(rows, map_h, map_w, heads)
        offsets = rows.to(tl.int64)[:, None] * C + channels
        mask = (rows < num_rows)[:, None] & is_channel
        inputs = tl.load(x + offsets, mask, other=0.0).to(tl.float32)
        acc = tl.zeros((ROWS, PADDED_C), tl.float32)
        new_taps = acc_taps[:0]  # Triton cannot assign to an element of a tuple
        for tap in tl.static_range(KERNEL_H * KERNEL_W):
            # The kernel with this tap on this token is centered here. This is a pooled token if the stride
            # divides it.
            center_y = map_y + KERNEL_H // 2 - tap // KERNEL_W
            center_x = map_x + KERNEL_W // 2 - tap % KERNEL_W
            pooled_y, pooled_x = center_y // STRIDE, center_x // STRIDE
            is_pooled = (center_y >= 0) & (center_y % STRIDE == 0) & (pooled_y < pooled_h)
            is_pooled &= (center_x >= 0) & (center_x % STRIDE == 0) & (pooled_x < pooled_w)
            tokens = ((image * pooled_h + pooled_y).to(tl.int64) * pooled_w + pooled_x) * heads + head
            grads = tl.load(grad + tokens[:, None] * C + channels, mask & is_pooled[:, None], other=0.0)
            grads = grads.to(tl.float32)
            weights = tl.load(kernel + channels * (KERNEL_H * KERNEL_W) + tap, is_channel, other=0.0)
            acc += grads * weights.to(tl.float32)
            new_taps += (acc_taps[tap] + grads * inputs,)
        acc_taps = new_taps
        tl.store(grad_x + offsets, acc.to(grad_x.dtype.element_ty), mask)
    for tap in tl.static_range(KERNEL_H * KERNEL_W):
        index = program * (KERNEL_H * KERNEL_W) + tap
        tl.store(sums + index * C + channels, tl.sum(acc_taps[tap], 0), is_channel)
