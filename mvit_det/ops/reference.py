"""The definition of attention, in plain tensor operations."""

import torch
from torch import Tensor

from mvit_det.ops.relative_bias import RelPos
from mvit_det.ops.windows import window_partition, window_unpartition


def reference_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_pos: RelPos | None,
    q_window: tuple[int, int],
    kv_window: tuple[int, int],
    residual: bool,
) -> Tensor:
    """Compute :func:`mvit_det.ops.attention.attention` as the paper defines it. It stores every score."""
    map_hw = (q.shape[1], q.shape[2])
    q, k, v = (
        window_partition(x, window).movedim(-2, 3)  # (N, rows, columns, heads, height, width, C)
        for x, window in ((q, q_window), (k, kv_window), (v, kv_window))
    )
    scores = (q.flatten(4, 5) * q.shape[-1] ** -0.5) @ k.flatten(4, 5).mT  # (..., queries, keys)
    if rel_pos is not None:
        bias_h = torch.einsum("...hwc,hkc->...hwk", q, rel_pos.h)[..., :, None]
        bias_w = torch.einsum("...hwc,wkc->...hwk", q, rel_pos.w)[..., None, :]
        scores = (scores.view(*q.shape[:-1], *kv_window) + bias_h + bias_w).view_as(scores)
    out = (scores.softmax(-1) @ v.flatten(4, 5)).view(q.shape)
    return window_unpartition((out + q if residual else out).movedim(3, -2), map_hw)
