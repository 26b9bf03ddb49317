import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F

from mvit_det.torchvision.models.polygon_masks import PolygonMasks, clip_polygon

SQUARE = [2, 2, 6, 2, 6, 6, 2, 6]
TRIANGLE = [10, 0, 18, 0, 10, 8]


@pytest.fixture
def masks():
    """A square, and an object of two parts, in an image of 20 x 10 px."""
    return PolygonMasks.from_coco([[SQUARE], [TRIANGLE, SQUARE]], (10, 20))


def test_transforms_move_the_vertices(masks):
    assert masks.shape == (2, 10, 20)
    vertices = masks.vertices()
    assert len(vertices) == 4 + 3 + 4
    moved = F.crop(F.resize(F.horizontal_flip(vertices), [5, 10]), 1, 4, 4, 6)
    result = masks.moved_to(moved)
    # x: (20 - x) / 2 - 4; y: y / 2 - 1
    assert result.polygons[0][0].tolist() == [[5, 0], [3, 0], [3, 2], [5, 2]]
    assert result.polygons[1][0].tolist() == [[1, -1], [-3, -1], [1, 3]]
    assert result.polygons[1][1].tolist() == result.polygons[0][0].tolist()
    assert result.size == (4, 6)
    assert result.visible_boxes().tolist() == [[3, 0, 5, 2], [0, 0, 5, 3]]


def test_an_object_outside_the_image_has_an_empty_box():
    masks = PolygonMasks.from_coco([[[x - 30 for x in SQUARE]], [SQUARE]], (4, 20))
    assert masks.visible_boxes().tolist() == [[0, 0, 0, 0], [2, 2, 6, 4]]
    kept = masks[torch.tensor([False, True])]
    assert [len(parts) for parts in kept.polygons] == [1]
    assert kept.visible_boxes().tolist() == [[2, 2, 6, 4]]


def test_no_objects():
    masks = PolygonMasks.from_coco([], (4, 5))
    assert len(masks.moved_to(masks.vertices())) == len(masks) == 0
    assert masks.visible_boxes().shape == (0, 4)
    assert masks.crop(torch.zeros(0, 4), torch.zeros(0).long(), 28).shape == (0, 28, 28)


@pytest.mark.parametrize(
    ("polygon", "expected"),
    [
        ([[-2, 1], [2, 1], [2, 3], [-2, 3]], [[0, 1], [2, 1], [2, 3], [0, 3]]),
        ([[3, 3], [9, 3], [3, 9]], [[3, 3], [4, 3], [4, 4], [3, 4]]),  # a corner of the image is inside
        ([[-1, -1], [9, -1], [9, 9], [-1, 9]], [[0, 0], [4, 0], [4, 4], [0, 4]]),
    ],
)
def test_a_clipped_polygon(polygon, expected):
    clipped = clip_polygon(np.array(polygon, float), (4, 4))
    assert sorted(map(tuple, clipped.tolist())) == sorted(map(tuple, expected))


def test_masks_are_drawn_in_the_cells_of_boxes(masks):
    boxes = torch.tensor([[2.0, 2, 10, 6], [0, 0, 20, 10], [2, 2, 6, 6]])
    cropped = masks.crop(boxes, torch.tensor([0, 1, 1]), 4)
    assert cropped.dtype == torch.float32
    assert cropped[0].tolist() == [[1, 1, 0, 0]] * 4  # the left half of the box
    assert cropped[1, 1].tolist() == [1, 0, 1, 0]  # at a height of 2.5 to 5 px: the square and the triangle
    assert cropped[2].tolist() == [[1] * 4] * 4


def test_a_long_outline_is_clipped_before_it_is_drawn(monkeypatch):
    angles = np.linspace(0, 2 * np.pi, 1000)
    star = 20 + 15 * np.stack([np.cos(angles), np.sin(angles)], 1) * (1 + 0.3 * np.sin(40 * angles))[:, None]
    masks = PolygonMasks(((star,),), (40, 40))
    box, tiny = torch.tensor([[2.0, 2.0, 38.0, 38.0]]), torch.tensor([[20.0, 20.0, 20.001, 20.001]])
    drawn = masks.crop(box, torch.tensor([0]), 28)
    assert masks.crop(tiny, torch.tensor([0]), 28).min() == 1  # 280 cells a pixel
    monkeypatch.setattr("mvit_det.torchvision.models.polygon_masks.MAX_OUTLINE", 0)
    assert (masks.crop(box, torch.tensor([0]), 28) == drawn).float().mean() > 0.99
