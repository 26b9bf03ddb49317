"""Masks of regions: cut from whole pictures for training, and pasted into them at inference."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import roi_align


def crop_masks(masks: Tensor, boxes: Tensor, index: Tensor, side: int) -> Tensor:
    """Return what a mask head should predict for boxes: float 0 or 1, (R, side, side).

    Args:
        masks: (K, H, W) of the objects of a picture.
        boxes: (R, 4) XYXY in px.
        index: (R,) the object of each box.
        side: of a mask, in cells.
    """
    regions = torch.cat([index[:, None].to(boxes), boxes], dim=1)
    covered = roi_align(masks[:, None].to(boxes), regions, side, sampling_ratio=0, aligned=True)[:, 0]
    return (covered >= 0.5).to(boxes)  # (R, side, side)


def paste_masks(masks: Tensor, boxes: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return masks of boxes as masks of the picture, float (N, H, W), 0 away from the box.

    A pixel's value is interpolated between the cells around its centre; beyond the box they count as 0.

    Args:
        masks: (N, M, M) probabilities in the cells of each box.
        boxes: (N, 4) XYXY in px, inside the picture, none of them empty.
        shape: (H, W) of the picture, px.
    """
    pasted = masks.new_zeros(len(masks), *shape)
    for whole, mask, (x1, y1, x2, y2) in zip(pasted, masks, boxes.tolist(), strict=True):
        left, top, right, bottom = int(x1), int(y1), math.ceil(x2), math.ceil(y2)
        across = _pixel_centres(left, right, x1, x2, masks)
        down = _pixel_centres(top, bottom, y1, y2, masks)
        grid = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)  # (h, w, 2)
        inside = F.grid_sample(mask[None, None], grid[None], align_corners=False)  # (1, 1, h, w)
        whole[top:bottom, left:right] = inside[0, 0]
    return pasted


def _pixel_centres(first: int, last: int, low: float, high: float, like: Tensor) -> Tensor:
    """Return the centres of the pixels ``first`` to ``last`` where ``low`` is -1 and ``high`` is 1."""
    centres = torch.arange(first, last, device=like.device, dtype=like.dtype) + 0.5
    return (centres - low) / (high - low) * 2 - 1
