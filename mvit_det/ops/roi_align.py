"""The choice between our RoIAlign, which pools from all levels of a pyramid at once, and the framework's."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mvit_det.ops.availability import has_native
from mvit_det.ops.native.roi_align import MAX_LEVELS, MULTIPLE


def has_native_roi_align(maps: Sequence[Tensor]) -> bool:
    """Return whether to pool from these levels, each (N, C, h, w), with :func:`native_roi_align`."""
    return (
        all(has_native(level.device.type, torch.float32, "roi_align") for level in maps)
        and all(level.dtype in (torch.float32, torch.bfloat16, torch.float16) for level in maps)
        and len(maps) <= MAX_LEVELS
        and maps[0].shape[1] % MULTIPLE == 0
    )
