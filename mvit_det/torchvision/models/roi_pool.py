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
        levels = region_levels(all_boxes)
        maps = [x[name] for name in STRIDES]
        if has_native_roi_align(maps):
            scales = [1 / stride for stride in STRIDES.values()]
            return native_roi_align(maps, all_boxes, image_index, levels, scales, self.output_size[0])
        regions = torch.cat([image_index[:, None].to(all_boxes), all_boxes], dim=1)
        finest = x["p2"]
        pooled = finest.new_zeros(len(regions), finest.shape[1], *self.output_size)
        for level, (name, stride) in enumerate(STRIDES.items()):
            index = torch.where(levels == level)[0]
            aligned = roi_align(x[name], regions[index], self.output_size, 1 / stride, 0, aligned=True)
            pooled[index] = aligned.to(pooled.dtype)
        return pooled


def region_levels(boxes: Tensor) -> Tensor:
    """Return the level of each box, from 0 for p2 to 3 for p5; boxes are (R, 4) XYXY in px."""
    level = torch.floor(4 + torch.log2(box_area(boxes).sqrt() / CANONICAL_SIDE + 1e-8))
    return level.clamp(2, 5).long() - 2
