import torch

from mvit_det.export.region_pool import pool_boxes
from mvit_det.torchvision.models.roi_pool import RegionPool


def test_boxes_are_pooled_from_their_own_image_and_level():
    maps = [torch.randn(2, 64, 64 >> level, 96 >> level) for level in range(4)]
    boxes = torch.rand(2, 5, 4) * 50
    boxes[..., 2:] += boxes[..., :2] + torch.tensor([1, 60, 180, 300, 0])[:, None]  # p2 to p5
    boxes[1, 4] = 0  # as of a row without a box
    image_index = torch.tensor([0] * 5 + [1] * 5)
    pooled = pool_boxes(maps, boxes.flatten(0, 1), image_index, 7)
    expected = RegionPool(7)({f"p{n}": level for n, level in enumerate(maps, 2)}, list(boxes), [])
    assert pooled.shape == (10, 64, 7, 7)
    torch.testing.assert_close(pooled, expected)
