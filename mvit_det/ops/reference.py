"""The definitions of attention and of RoIAlign, in plain tensor operations."""

import math
from collections.abc import Sequence

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


def reference_roi_align(
    maps: Sequence[Tensor],
    boxes: Tensor,
    image_index: Tensor,
    levels: Tensor,
    scales: Sequence[float],
    output_size: int,
) -> Tensor:
    """Pool the features of boxes from the levels of a pyramid by RoIAlign, aligned to half pixels.

    A bin is the mean of samples on a regular grid, at most one cell of the map apart. Samples that are more
    than a cell outside the map count as zero.

    Args:
        maps: the levels, each (N, C, h, w).
        boxes: (R, 4) XYXY in px.
        image_index: (R,), the image of each box.
        levels: (R,), the level of each box.
        scales: cells per px in each level.
        output_size: side of the result, in bins.

    Returns:
        (R, C, output_size, output_size).

    Source: Mask R-CNN, arXiv 1703.06870, section 3.
    """
    pooled = []
    for box, image, level in zip(boxes, image_index.tolist(), levels.tolist(), strict=True):
        x1, y1, x2, y2 = (box * scales[level]).tolist()
        features = maps[level][image]  # (C, h, w)
        rows = _cell_weights(y1, y2, features.shape[1], output_size).to(features)
        columns = _cell_weights(x1, x2, features.shape[2], output_size).to(features)
        pooled.append(rows @ features @ columns.T)  # (C, output_size, output_size)
    return torch.stack(pooled)


def _cell_weights(low: float, high: float, num_cells: int, num_bins: int) -> Tensor:
    """Return the weights of cells in the bins from ``low`` to ``high`` of an axis, (num_bins, num_cells)."""
    size = (high - low) / num_bins
    num_samples = math.ceil(size)
    offsets = (torch.arange(num_samples) + 0.5) / num_samples  # in a bin
    positions = low - 0.5 + (torch.arange(num_bins)[:, None] + offsets) * size  # (num_bins, num_samples)
    is_counted = (positions >= -1) & (positions <= num_cells)
    positions = positions.clamp(0, num_cells - 1)
    # Linear interpolation gives a cell at distance d the weight 1 - d, if d is less than 1.
    weights = (1 - (positions[..., None] - torch.arange(num_cells)).abs()).clamp(min=0)
    return (weights * is_counted[..., None]).sum(1) / num_samples
