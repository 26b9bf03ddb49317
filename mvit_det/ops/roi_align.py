"""RoIAlign on the levels of a feature pyramid, faster on a CPU."""

from collections.abc import Sequence

from torch import Tensor

from mvit_det.ops.availability import has_native
from mvit_det.ops.native.roi_align import MAX_LEVELS, MULTIPLE, native_roi_align

__all__ = ["can_use_native_roi_align", "native_roi_align"]


def can_use_native_roi_align(maps: Sequence[Tensor]) -> bool:
    """Return whether :func:`native_roi_align` can pool from these levels, each (N, C, h, w)."""
    return (
        all(has_native(level.device.type, level.dtype, "roi_align") for level in maps)
        and len(maps) <= MAX_LEVELS
        and maps[0].shape[1] % MULTIPLE == 0
    )
