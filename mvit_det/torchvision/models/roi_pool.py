"""Features of regions of any size, cut from the level of the pyramid that suits each."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign, box_area, roi_align

STRIDES = {"p2": 4, "p3": 8, "p4": 16, "p5": 32}  # px, of the levels that regions are cut from
CANONICAL_SIDE = 224  # px, of a region that belongs to p4


class RegionPool(MultiScaleRoIAlign):
    """Detectron2's pooling: aligned to half pixels, with as many samples as a region needs.

    torchvision's, which this stands in for, is neither, and takes the strides from its first picture.
    Source: FPN, arXiv 1612.03144, equation 1; Mask R-CNN, arXiv 1703.06870, section 3.
    """

    def __init__(self, output_size: int) -> None:
        super().__init__(list(STRIDES), output_size, sampling_ratio=0)

    def forward(
        self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: Sequence[tuple[int, int]]
    ) -> Tensor:
        """Return (R, C, output_size, output_size) for the XYXY boxes, in px, of all pictures.

        Args:
            x: the pyramid, level -> (N, C, h, w).
            boxes: (R_i, 4) for each picture.
            image_shapes: not needed: the strides are fixed.
        """
        all_boxes = torch.cat(boxes)
        counts = torch.tensor([len(of_image) for of_image in boxes], device=all_boxes.device)
        image = torch.repeat_interleave(counts).to(all_boxes)  # 0, 0, ..., 1, ...
        regions = torch.cat([image[:, None], all_boxes], dim=1)
        levels = region_levels(all_boxes)
        finest = x["p2"]
        pooled = finest.new_zeros(len(regions), finest.shape[1], *self.output_size)
        for level, (name, stride) in enumerate(STRIDES.items()):
            index = torch.where(levels == level)[0]
            cut = roi_align(x[name], regions[index], self.output_size, 1 / stride, 0, aligned=True)
            pooled[index] = cut.to(pooled.dtype)
        return pooled


def region_levels(boxes: Tensor) -> Tensor:
    """Return the level, 0 for p2 to 3 for p5, of each of the (R, 4) boxes, XYXY in px."""
    level = torch.floor(4 + torch.log2(box_area(boxes).sqrt() / CANONICAL_SIDE + 1e-8))
    return level.clamp(2, 5).long() - 2
