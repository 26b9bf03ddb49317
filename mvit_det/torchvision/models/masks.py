"""Masks of regions: their targets and loss in training, and their placement in the image at inference."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import roi_align


def mask_loss(
    logits: Tensor, boxes: list[Tensor], matched_index: list[Tensor], targets: list[dict[str, Tensor]]
) -> Tensor:
    """Return the binary cross-entropy of the masks of each region's own class.

    Args:
        logits: (R, K, M, M) for the positive regions of all images and for all categories.
        boxes: (R_i, 4) for each image, XYXY in px.
        matched_index: (R_i,) for each image, the object of each region.
        targets: ``labels`` (N,) and ``masks`` (N, H, W) of each image.
    """
    images = list(zip(targets, boxes, matched_index, strict=True))
    labels = torch.cat([target["labels"][index] for target, _, index in images])
    side = logits.shape[-1]
    truth = torch.cat([crop_masks(target["masks"], b, index, side) for target, b, index in images])
    if not len(labels):
        return logits.sum() * 0  # every parameter gets a gradient, as training on several devices requires
    return F.binary_cross_entropy_with_logits(select_class_masks(logits, labels), truth)


def select_class_masks(masks: Tensor, labels: Tensor) -> Tensor:
    """Return the mask of each region's class, (R, M, M), from the masks of all classes, (R, K, M, M)."""
    return masks[torch.arange(len(masks), device=masks.device), labels - 1]


def crop_masks(masks: Tensor, boxes: Tensor, index: Tensor, side: int) -> Tensor:
    """Return the targets of a mask head for boxes: float 0 or 1, (R, side, side).

    Args:
        masks: (K, H, W), masks of the objects of an image.
        boxes: (R, 4) XYXY in px.
        index: (R,), the object of each box.
        side: side of the result, in cells.
    """
    regions = torch.cat([index[:, None].to(boxes), boxes], dim=1)
    coverage = roi_align(masks[:, None].to(boxes), regions, side, sampling_ratio=0, aligned=True)[:, 0]
    return (coverage >= 0.5).to(boxes)  # (R, side, side)


def paste_masks(masks: Tensor, boxes: Tensor, shape: tuple[int, int]) -> Tensor:
    """Place the masks of boxes into the image; return float (N, H, W), 0 outside the box.

    The value of a pixel is interpolated between the cells around its center; outside the box, cells
    count as 0.

    Args:
        masks: (N, M, M) probabilities in the cells of each box.
        boxes: (N, 4) XYXY in px, inside the image, none of them empty.
        shape: (H, W) of the image, px.
    """
    pasted = masks.new_zeros(len(masks), *shape)
    for image_mask, mask, (x1, y1, x2, y2) in zip(pasted, masks, boxes.tolist(), strict=True):
        left, top, right, bottom = int(x1), int(y1), math.ceil(x2), math.ceil(y2)
        x = _pixel_centers(left, right, x1, x2, masks)
        y = _pixel_centers(top, bottom, y1, y2, masks)
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)  # (h, w, 2)
        sampled = F.grid_sample(mask[None, None], grid[None], align_corners=False)  # (1, 1, h, w)
        image_mask[top:bottom, left:right] = sampled[0, 0]
    return pasted


def _pixel_centers(first: int, last: int, low: float, high: float, like: Tensor) -> Tensor:
    """Return the centers of pixels first to last - 1, on a scale from -1 at ``low`` to 1 at ``high``."""
    centers = torch.arange(first, last, device=like.device, dtype=like.dtype) + 0.5
    return (centers - low) / (high - low) * 2 - 1
