import pickle

import pytest
import torch
from torchvision import tv_tensors

from mvit_det.torchvision.data.augmentation import (
    RandomSizeCrop,
    build_augmentation,
    keep_visible,
    to_float,
)


def sample(height, width):
    """Return an image with two rectangles, whose color channels identify them, and its target."""
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    masks = torch.zeros(2, height, width, dtype=torch.uint8)
    masks[0, 5:45, 10:60] = 1
    masks[1, 60:90, 70:150] = 1
    image[0], image[1] = masks[0] * 255, masks[1] * 255
    boxes = torch.tensor([[10.0, 5, 60, 45], [70, 60, 150, 90]])
    target = {
        "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(height, width)),
        "labels": torch.tensor([1, 2]),
        "masks": tv_tensors.Mask(masks),
        "image_id": 9,
    }
    return tv_tensors.Image(image), target


@pytest.mark.parametrize("name", ["flip", "multiscale", "lsj"])
def test_boxes_masks_and_pixels_stay_together(name):
    torch.manual_seed(0)
    augment = build_augmentation(name, short_side=80, long_side=133)
    shapes = set()
    for _ in range(40):
        image, target = augment(*sample(100, 160))
        assert image.dtype == torch.float32
        assert type(image) is type(target["boxes"]) is torch.Tensor
        assert 0 <= image.min() <= image.max() <= 1
        assert target["image_id"] == 9
        shapes.add(tuple(image.shape))
        assert len(target["boxes"]) == len(target["labels"]) == len(target["masks"])
        for box, label, mask in zip(*(target[k] for k in ("boxes", "labels", "masks")), strict=True):
            assert mask.shape == image.shape[1:]
            assert image[label - 1][mask.bool()].mean() > 0.7  # the pixels of that object
            rows, columns = mask.nonzero().unbind(1)
            inner = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            assert (box - inner).abs().max() <= 2
    assert len(shapes) == 1 if name == "flip" else len(shapes) > 10


def test_sizes_of_the_augmentations():
    torch.manual_seed(0)
    multiscale = build_augmentation("multiscale", short_side=80, long_side=133)
    shapes = [multiscale(*sample(100, 160))[0].shape[1:] for _ in range(60)]
    recipe = [0.6, 0.64, 0.68, 0.72, 0.76, 0.8, 0.84, 0.88, 0.92, 0.96, 1]
    assert all(min(abs(min(shape) - 80 * f) for f in recipe) < 1.5 for shape in shapes)
    assert max(max(shape) for shape in shapes) <= 133
    square = build_augmentation("lsj", short_side=80, long_side=80)
    shapes = [square(*sample(100, 160))[0].shape[1:] for _ in range(60)]
    assert max(max(shape) for shape in shapes) <= 80
    assert min(min(shape) for shape in shapes) < 30


def test_augmentation_can_be_pickled():
    copied = pickle.loads(pickle.dumps(build_augmentation("multiscale", 80, 133)))
    assert copied(*sample(100, 160))[0].dtype == torch.float32


def test_unknown_augmentation():
    with pytest.raises(ValueError, match="'multscale': did you mean 'multiscale'"):
        build_augmentation("multscale", 80, 133)


@pytest.mark.parametrize("name", ["flip", "multiscale", "lsj"])
def test_a_thin_image_keeps_a_pixel(name):
    torch.manual_seed(0)
    augment = build_augmentation(name, 80, 80)
    target = {
        "boxes": tv_tensors.BoundingBoxes(torch.zeros(0, 4), format="XYXY", canvas_size=(3, 900)),
        "labels": torch.zeros(0, dtype=torch.int64),
        "masks": tv_tensors.Mask(torch.zeros(0, 3, 900, dtype=torch.uint8)),
    }
    for _ in range(20):
        image, _ = augment(tv_tensors.Image(torch.zeros(3, 3, 900, dtype=torch.uint8)), target)
        assert min(image.shape) > 0


def test_a_crop_keeps_a_side_that_is_shorter():
    crop = RandomSizeCrop(120, 140)
    for _ in range(10):
        image = crop(torch.zeros(3, 100, 200))
        assert image.shape[1] == 100
        assert 120 <= image.shape[2] <= 140


def test_boxes_are_clipped_to_the_visible_masks():
    masks = torch.zeros(3, 20, 20, dtype=torch.uint8)
    masks[0, 2:8, 3:9] = 1  # whole
    masks[1, 0:5, 15:20] = 1  # the visible part of a cropped object
    target = {
        "boxes": torch.tensor([[2.6, 2.2, 9.3, 7.9], [10, -30, 60, 8], [5, 5, 9, 9]]),
        "labels": torch.tensor([1, 2, 3]),
        "masks": masks,
    }
    visible = keep_visible(target)
    assert visible["labels"].tolist() == [1, 2]
    torch.testing.assert_close(visible["boxes"][0], target["boxes"][0])
    assert visible["boxes"][1].tolist() == [14, 0, 20, 6]


def test_an_image_without_objects():
    image, target = sample(100, 160)
    no_objects = {k: v[:0] if isinstance(v, torch.Tensor) else v for k, v in target.items()}
    no_objects["masks"] = tv_tensors.Mask(no_objects["masks"])
    no_objects["boxes"] = tv_tensors.BoundingBoxes(no_objects["boxes"], format="XYXY", canvas_size=(100, 160))
    out = build_augmentation("multiscale", 80, 133)(image, no_objects)[1]
    assert out["boxes"].shape == (0, 4)
    assert out["masks"].shape[0] == 0


def test_evaluation_keeps_the_size():
    image, target = sample(100, 160)
    evaluated, same_target = to_float(image, target)
    assert evaluated.shape == (3, 100, 160)
    assert evaluated.dtype == torch.float32
    assert same_target is target
