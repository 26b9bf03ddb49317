"""Pooling of the features of regions; the size of a region selects the level of the pyramid."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign, box_area, roi_align

from mvit_det.ops.native.roi_align import native_roi_align
from mvit_det.ops.roi_align import has_native_roi_align

BOX_SIZE, MASK_SIZE = 7, 14  # side of the pooled features for box heads and mask heads, in cells
STRIDES = {"p2": 4, "p3": 8, "p4": 16, "p5": 32}  # px, of the levels that regions are pooled from
CANONICAL_SIDE = 224  # px; a region of this size belongs to p4


class RegionPool(MultiScaleRoIAlign):
    """RoIAlign as in Detectron2: aligned to half pixels, with more samples for larger regions.

    torchvision's own pooling does neither, and infers the strides from the first images that it gets.

    Source: Feature Pyramid Networks, arXiv 1612.03144, equation 1; Mask R-CNN, arXiv 1703.06870, section 3.
    """

    def __init__(self, output_size: int) -> None:
        super().__init__(list(STRIDES), output_size, sampling_ratio=0)

    def forward(
        self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: Sequence[tuple[int, int]]
    ) -> Tensor:
        """Return features (R, C, output_size, output_size) for the boxes of all images.

        Args:
            x: the pyramid, level -> (N, C, h, w).
            boxes: (R_i, 4) for each image, XYXY in px.
            image_shapes: unused, since the strides are fixed; part of torchvision's interface.
        """
        all_boxes = torch.cat(boxes)
        counts = torch.tensor([len(image_boxes) for image_boxes in boxes], device=all_boxes.device)
        image_index = torch.repeat_interleave(counts)  # 0, 0, ..., 1, ...
        maps = [x[name] for name in STRIDES]
        return pool_regions(maps, all_boxes, image_index, region_levels(all_boxes), self.output_size[0])


def pool_regions(
    maps: list[Tensor], boxes: Tensor, image_index: Tensor, levels: Tensor, output_size: int
) -> Tensor:
    """Return features (R, C, output_size, output_size) for boxes.

    Args:
        maps: the levels p2 to p5 of the pyramid, each (N, C, h, w).
        boxes: (R, 4), XYXY in px.
        image_index: (R,), the image of each box.
        levels: (R,), the level of each box, from 0; boxes with level -1 are pooled to zeros.
        output_size: side of the result, in bins.
    """
    scales = [1 / stride for stride in STRIDES.values()]
    if has_native_roi_align(maps):
        return native_roi_align(maps, boxes, image_index, levels, scales, output_size)
    regions = torch.cat([image_index[:, None].to(boxes), boxes], dim=1)
    pooled = maps[0].new_zeros(len(regions), maps[0].shape[1], output_size, output_size)
    for number, (level, scale) in enumerate(zip(maps, scales, strict=True)):
        index = torch.where(levels == number)[0]
        aligned = roi_align(level, regions[index], output_size, scale, 0, aligned=True)
        pooled[index] = aligned.to(pooled.dtype)
    return pooled


def region_levels(boxes: Tensor) -> Tensor:
    """Return the level of each box, from 0 for p2 to 3 for p5; boxes are (R, 4) XYXY in px."""
    level = torch.floor(4 + torch.log2(box_area(boxes).sqrt() / CANONICAL_SIDE + 1e-8))
    return level.clamp(2, 5).long() - 2
