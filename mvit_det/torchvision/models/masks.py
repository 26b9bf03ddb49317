"""Masks of regions: the targets and the loss in training, and pasting into the image at inference."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import roi_align

from mvit_det.torchvision.models.losses import region_weights
from mvit_det.torchvision.models.polygon_masks import PolygonMasks


def mask_loss(
    logits: Tensor,
    boxes: list[Tensor],
    matched_index: list[Tensor],
    targets: list[dict[str, Tensor]],
    image_shapes: list[tuple[int, int]],
) -> Tensor:
    """Return the binary cross-entropy of the mask logits, counting only the class of each region's object.

    The loss is the mean over images of the mean over the regions of an image.

    Args:
        logits: (R, K, M, M) for the positive regions of all images and for all categories.
        boxes: (R_i, 4) for each image, XYXY in px.
        matched_index: (R_i,) for each image, the index of each region's object in ``targets``.
        targets: ``labels`` (N,) and ``masks`` of each image, :class:`PolygonMasks` or (N, H, W). The masks
            cover the image, at any resolution.
        image_shapes: (height, width) of each image, px.
    """
    images = list(zip(targets, boxes, matched_index, image_shapes, strict=True))
    labels = torch.cat([target["labels"][index] for target, _, index, _ in images])
    side = logits.shape[-1]
    truth = [
        crop_masks(target["masks"], _at_resolution(b, shape, target["masks"]), index, side)
        for target, b, index, shape in images
    ]
    errors = F.binary_cross_entropy_with_logits(
        select_class_masks(logits, labels), torch.cat(truth), reduction="none"
    )
    weights = region_weights([len(index) for index in matched_index], errors)
    return (errors.mean((1, 2)) * weights).sum()


def _at_resolution(boxes: Tensor, image_shape: tuple[int, int], masks: PolygonMasks | Tensor) -> Tensor:
    """Scale boxes from pixels of the image to pixels of the masks."""
    scale_y, scale_x = (mask / image for mask, image in zip(masks.shape[1:], image_shape, strict=True))
    return boxes * boxes.new_tensor([scale_x, scale_y, scale_x, scale_y])


def select_class_masks(masks: Tensor, labels: Tensor) -> Tensor:
    """Return the mask of each region's class, (R, M, M), from the masks of all classes, (R, K, M, M)."""
    return masks[torch.arange(masks.shape[0], device=masks.device), labels - 1]


def crop_masks(masks: PolygonMasks | Tensor, boxes: Tensor, index: Tensor, side: int) -> Tensor:
    """Return the mask targets of boxes, (R, side, side): 1 in cells that belong to the object.

    In a (K, H, W) mask, a cell belongs to an object that covers at least half of it.

    Args:
        masks: masks of the objects of an image.
        boxes: (R, 4) XYXY in px.
        index: (R,), the index of each box's object in ``masks``.
        side: side of the result, in cells.
    """
    if isinstance(masks, PolygonMasks):
        return masks.crop(boxes, index, side)
    coverage = boxes.new_zeros(len(boxes), side, side)
    for number in index.unique().tolist():  # one at a time, since pixels in floating point need much memory
        regions = torch.where(index == number)[0]
        mask = masks[number][None, None].to(boxes)
        pooled = roi_align(mask, [boxes[regions]], side, sampling_ratio=0, aligned=True)
        coverage[regions] = pooled[:, 0]
    return (coverage >= 0.5).to(boxes)  # (R, side, side)


def paste_masks(
    masks: Tensor, boxes: Tensor, shape: tuple[int, int], threshold: float | None = None
) -> Tensor:
    """Return masks at the size of the image, (N, H, W), from the masks of boxes.

    The value of a pixel is interpolated bilinearly between the cells around its center; cells outside the
    box count as 0.

    Args:
        masks: (N, M, M) probabilities in the cells of each box.
        boxes: (N, 4) XYXY in px, inside the image and not empty.
        shape: (H, W) of the image, px.
        threshold: probability from which on a pixel belongs to the object. The result is then bool, which
            takes a quarter of the memory; with None, it is probabilities.
    """
    dtype = masks.dtype if threshold is None else torch.bool
    pasted = torch.zeros(len(masks), *shape, dtype=dtype, device=masks.device)
    for image_mask, mask, (x1, y1, x2, y2) in zip(pasted, masks, boxes.tolist(), strict=True):
        left, top, right, bottom = int(x1), int(y1), math.ceil(x2), math.ceil(y2)
        x = _pixel_centers(left, right, x1, x2, masks)
        y = _pixel_centers(top, bottom, y1, y2, masks)
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)  # (h, w, 2)
        sampled = F.grid_sample(mask[None, None], grid[None], align_corners=False)  # (1, 1, h, w)
        region = sampled[0, 0]
        image_mask[top:bottom, left:right] = region if threshold is None else region >= threshold
    return pasted


def _pixel_centers(first: int, last: int, low: float, high: float, like: Tensor) -> Tensor:
    """Return the centers of pixels ``first`` to ``last - 1`` in coordinates of ``grid_sample``.

    The coordinates go from -1 at ``low`` px to 1 at ``high`` px.
    """
    centers = torch.arange(first, last, device=like.device, dtype=like.dtype) + 0.5
    return (centers - low) / (high - low) * 2 - 1
