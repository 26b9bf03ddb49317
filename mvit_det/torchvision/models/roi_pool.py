"""Pooling of region features from the pyramid level that fits each region's size."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign, box_area, roi_align

BOX_SIZE, MASK_SIZE = 7, 14  # side of the pooled features for box and mask heads, in cells
STRIDES = {"p2": 4, "p3": 8, "p4": 16, "p5": 32}  # px, of the levels that regions are pooled from
CANONICAL_SIDE = 224  # px; a region of this size belongs to p4


class RegionPool(MultiScaleRoIAlign):
    """RoIAlign as in Detectron2: aligned to half pixels, with as many samples as a region needs.

    torchvision's own pooling does neither, and infers the strides from the first images that it sees.

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
        image_index = torch.repeat_interleave(counts).to(all_boxes)  # 0, 0, ..., 1, ...
        regions = torch.cat([image_index[:, None], all_boxes], dim=1)
        levels = region_levels(all_boxes)
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
