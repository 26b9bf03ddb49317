"""RoIAlign on all levels of a feature pyramid at once, faster on a CPU."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mvit_det.ops.availability import has_native
from mvit_det.ops.native.roi_align import MAX_LEVELS, MULTIPLE, native_roi_align


def can_pool_levels(maps: Sequence[Tensor]) -> bool:
    """Return whether :func:`pool_levels` can pool from these levels, each (N, C, h, w)."""
    return (
        all(has_native(level.device.type, torch.float32, "roi_align") for level in maps)
        and all(level.dtype in (torch.float32, torch.bfloat16, torch.float16) for level in maps)
        and len(maps) <= MAX_LEVELS
        and maps[0].shape[1] % MULTIPLE == 0
    )


def pool_levels(
    maps: Sequence[Tensor],
    boxes: Tensor,
    image_index: Tensor,
    levels: Tensor,
    scales: Sequence[float],
    output_size: int,
) -> Tensor:
    """Compute :func:`mvit_det.ops.reference.reference_roi_align` in float32, on a CPU.

    Args:
        maps: levels for which :func:`can_pool_levels` is true.
        boxes: as in the reference, as are the other arguments. They get no gradients.
        image_index: (R,) int64.
        levels: (R,) int64.
        scales: cells per px in each level.
        output_size: side of the result, in bins.

    Returns:
        (R, C, output_size, output_size), channels-last, in the dtype of the levels.
    """
    in_float32 = [level.float() for level in maps]
    pooled = native_roi_align(in_float32, boxes.float(), image_index, levels, scales, output_size)
    return pooled.to(maps[0].dtype)
