"""Pooling of the features of regions, as one operator."""

from torch import Tensor

from mvit_det.ops.custom_op import operator
from mvit_det.torchvision.models.roi_pool import pool_regions, region_levels


def pool_boxes(maps: list[Tensor], boxes: Tensor, image_index: Tensor, output_size: int) -> Tensor:
    """Pool the features of boxes, as :class:`mvit_det.torchvision.models.roi_pool.RegionPool`.

    Args:
        maps: the levels p2 to p5 of the pyramid, each (N, C, h, w).
        boxes: (R, 4), XYXY in px.
        image_index: (R,), the image of each box.
        output_size: side of the result, in bins.

    Returns:
        (R, C, output_size, output_size).
    """
    # Boxes without area, such as padding rows, have no level: they are pooled to zeros.
    has_area = (boxes[:, 2:] > boxes[:, :2]).all(1)
    return _pool(boxes, image_index, region_levels(boxes).where(has_area, -1), maps, output_size)


def _empty_bins(
    boxes: Tensor, image_index: Tensor, levels: Tensor, maps: list[Tensor], output_size: int
) -> Tensor:
    return maps[0].new_empty(boxes.shape[0], maps[0].shape[1], output_size, output_size)


@operator("pool_regions", _empty_bins)
def _pool(boxes: Tensor, image_index: Tensor, levels: Tensor, maps: list[Tensor], output_size: int) -> Tensor:
    return pool_regions(maps, boxes, image_index, levels, output_size).contiguous()
