"""Pooling of queries, keys and values by a depthwise convolution that all heads share."""

from typing import TypeGuard

import torch.nn.functional as F
from torch import Tensor, nn

from mvit_det.ops.layers import is_plain


def pool(x: Tensor, conv: nn.Module) -> Tensor:
    """Apply ``conv`` to the map of each head.

    A plain depthwise :class:`torch.nn.Conv2d` is computed for all heads at once. Anything else is called,
    with the heads as images of a batch.

    Args:
        x: (N, H, W, heads, C)
        conv: (N, C, H, W) -> (N, C, h, w)

    Returns:
        (N, h, w, heads, C)

    Source: MViTv2, arXiv 2112.01526, section 3.
    """
    if is_depthwise_pool(conv):
        return depthwise_pool(x, conv.weight, conv.stride[0])
    n, heads = x.shape[0], x.shape[3]
    pooled = conv(x.permute(0, 3, 4, 1, 2).flatten(0, 1))  # (N * heads, C, h, w)
    return pooled.unflatten(0, (n, heads)).permute(0, 3, 4, 1, 2)


def is_depthwise_pool(conv: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Return whether :func:`depthwise_pool` can replace ``conv``."""
    if not is_plain(conv, nn.Conv2d):
        return False
    padding = tuple(side // 2 for side in conv.kernel_size)
    return (
        all(side % 2 for side in conv.kernel_size)
        and conv.groups == conv.in_channels == conv.out_channels
        and conv.bias is None
        and conv.stride[0] == conv.stride[1]
        and conv.padding == padding
        and conv.padding_mode == "zeros"
        and conv.dilation == (1, 1)
    )


def depthwise_pool(x: Tensor, kernel: Tensor, stride: int) -> Tensor:
    """Convolve each channel with its kernel, with zero padding of half the kernel's size.

    Args:
        x: (N, H, W, heads, C)
        kernel: (C, 1, height, width), odd sides.
        stride: stride of the convolution, tokens.

    Returns:
        (N, ceil(H / stride), ceil(W / stride), heads, C)
    """
    heads, padding = x.shape[3], (kernel.shape[2] // 2, kernel.shape[3] // 2)
    x = x.flatten(3).permute(0, 3, 1, 2)  # (N, heads * C, H, W), channels last in memory
    x = F.conv2d(x, kernel.repeat(heads, 1, 1, 1), None, stride, padding, groups=x.shape[1])
    return x.permute(0, 2, 3, 1).unflatten(-1, (heads, -1))
