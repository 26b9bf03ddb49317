"""What our kernels are measured against, and take the place of: plain tensor operations."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mvit_det.ops.windows import partition, unpartition


def reference(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_h: Tensor | None,
    rel_w: Tensor | None,
    q_window: tuple[int, int],
    kv_window: tuple[int, int],
    residual: bool,
) -> Tensor:
    """The definition of :func:`mvit_det.ops.attention.attend`."""
    map_hw = (q.shape[1], q.shape[2])
    # (N, rows, columns, heads, height, width, C)
    q, k, v = (
        partition(x, window).movedim(-2, 3) for x, window in ((q, q_window), (k, kv_window), (v, kv_window))
    )
    scores = (q.flatten(4, 5) * q.shape[-1] ** -0.5) @ k.flatten(4, 5).mT  # (..., queries, keys)
    if rel_h is not None and rel_w is not None:
        bias_h = torch.einsum("...hwc,hkc->...hwk", q, rel_h)[..., :, None]
        bias_w = torch.einsum("...hwc,wkc->...hwk", q, rel_w)[..., None, :]
        scores = (scores.view(*q.shape[:-1], *kv_window) + bias_h + bias_w).view_as(scores)
    out = (scores.softmax(-1) @ v.flatten(4, 5)).view(q.shape)
    return unpartition((out + q if residual else out).movedim(3, -2), map_hw)


def pool(x: Tensor, kernel: Tensor, stride: int) -> Tensor:
    """Pool a map by a depthwise convolution, the same for all heads, in zeros that keep its size.

    Args:
        x: (N, H, W, heads, C)
        kernel: (C, 1, height, width), odd sides.
        stride: of the convolution.

    Returns:
        (N, h, w, heads, C), where h and w are H and W over the stride, rounded up.
    """
    heads, padding = x.shape[3], (kernel.shape[2] // 2, kernel.shape[3] // 2)
    x = x.flatten(3).permute(0, 3, 1, 2)  # channels last in memory
    x = F.conv2d(x, kernel.repeat(heads, 1, 1, 1), None, stride, padding, groups=x.shape[1])
    return x.permute(0, 2, 3, 1).unflatten(-1, (heads, -1))
