import pytest
import torch

from mvit_det.torchvision.models.roi_pool import RegionPool, region_levels

LEVELS = (2, 3, 4, 5)


def ramp(stride, size=256):
    """Return a map that holds the x coordinate of the center of each cell, in px of the image."""
    cells = size // stride
    return (torch.arange(cells) * stride + stride / 2).expand(1, 1, cells, cells).clone()


@pytest.mark.parametrize(
    ("side", "level"), [(10, 0), (111.9, 0), (112, 1), (223.9, 1), (224, 2), (447, 2), (448, 3), (2000, 3)]
)
def test_level_of_a_square_region(side, level):
    assert region_levels(torch.tensor([[5.0, 7.0, 5 + side, 7 + side]])).tolist() == [level]


def test_levels_depend_on_the_area_and_empty_boxes_are_on_the_finest():
    boxes = torch.tensor([[0.0, 0, 448, 112], [0, 0, 448, 111], [3, 3, 3, 3]])  # 224 squared, and less
    assert region_levels(boxes).tolist() == [2, 1, 0]


def test_bins_are_centered_on_the_region():
    maps = {f"p{level}": ramp(1 << level) for level in LEVELS}
    boxes = torch.tensor([[20.0, 20, 90, 90], [30, 30, 170, 170]])  # on p2 and p3
    pooled = RegionPool(7)(maps, [boxes], [(256, 256)])
    assert pooled.shape == (2, 1, 7, 7)
    centers = torch.arange(7) + 0.5
    torch.testing.assert_close(pooled[0, 0], (20 + 10 * centers).expand(7, 7))
    torch.testing.assert_close(pooled[1, 0], (30 + 20 * centers).expand(7, 7))


def test_every_cell_of_a_large_region_counts():
    maps = {f"p{level}": torch.zeros(1, 1, 256 >> level, 256 >> level) for level in LEVELS}
    maps["p3"][..., ::2] = 1  # columns of 8 px; each bin covers 2 columns
    pooled = RegionPool(7)(maps, [torch.tensor([[16.0, 16, 128, 128]])], [(256, 256)])
    torch.testing.assert_close(pooled, torch.full((1, 1, 7, 7), 0.5))


def test_regions_are_pooled_from_their_own_image_with_fixed_strides():
    pool = RegionPool(7)
    maps = {f"p{level}": torch.ones(2, 3, 64 >> level, 64 >> level) for level in LEVELS}
    for level in maps.values():
        level[1] = 2
    boxes = [torch.tensor([[4.0, 4, 30, 30]]), torch.tensor([[8.0, 8, 20, 20], [4, 4, 50, 50]])]
    pooled = pool(maps, boxes, [(64, 33), (33, 64)])
    assert pooled.mean((1, 2, 3)).tolist() == [1, 2, 2]
    assert pool(maps, [boxes[0][:0]] * 2, [(64, 64)] * 2).shape == (0, 3, 7, 7)
