import pickle

import pytest
import torch
from torch.nn import functional as F
from torchvision import tv_tensors

from mvit_det.recipes import recipe_for
from mvit_det.torchvision.data.augmentation import build_augmentation, keep_visible, to_float
from mvit_det.torchvision.data.resize import RandomCrop
from mvit_det.torchvision.models.polygon_masks import PolygonMasks

DEFAULT, NANO = recipe_for("default"), recipe_for("mvitv2_nano")


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
    augment = build_augmentation(name, DEFAULT, 80)
    shapes = set()
    num_cropped = 0
    for _ in range(40):
        image, target = augment(*sample(100, 160))
        assert image.dtype == torch.float32
        assert type(image) is type(target["boxes"]) is torch.Tensor
        assert 0 <= image.min() <= image.max() <= 1
        assert target["image_id"] == 9
        shapes.add(tuple(image.shape))
        num_cropped += target["masks"].shape[1:] != (100, 160)
        assert len(target["boxes"]) == len(target["labels"]) == len(target["masks"])
        pixels = F.interpolate(image[None], target["masks"].shape[1:], mode="bilinear")[0]
        scale = torch.tensor([image.shape[2], image.shape[1]]) / torch.tensor(pixels.shape[:0:-1])
        for box, label, mask in zip(*(target[k] for k in ("boxes", "labels", "masks")), strict=True):
            assert pixels[label - 1][mask.bool()].mean() > 0.7  # the pixels of that object
            rows, columns = mask.nonzero().unbind(1)
            inner = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            assert (box / scale.repeat(2) - inner).abs().max() <= 2  # px of the mask
    assert len(shapes) == 1 if name == "flip" else len(shapes) > 10
    assert (num_cropped > 5) == (name != "flip")


def test_sizes_of_the_augmentations():
    torch.manual_seed(0)

    def shapes(*arguments, count):
        augment = build_augmentation(*arguments)
        return [tuple(augment(*sample(100, 160))[0].shape[1:]) for _ in range(count)]

    # The short side is 0.6 to 1 times 80 px. A crop changes the aspect ratio, but not the short side.
    default = {min(shape) for shape in shapes("multiscale", DEFAULT, 80, count=60)}
    assert default <= {48, 51, 54, 58, 61, 64, 67, 70, 74, 77, 80}
    assert len(default) > 8
    # The recipe of the nano variant has four sizes for 256 px at test time, and no crop.
    nano = set(shapes("multiscale", NANO, 256, count=30))
    assert nano == {(192, 307), (224, 358), (256, 410), (288, 461)}
    assert set(shapes("multiscale", NANO, 128, count=30)) == {(96, 154), (112, 179), (128, 205), (144, 230)}
    assert set(shapes("flip", NANO, 80, count=3)) == {(80, 128)}
    square = shapes("lsj", DEFAULT, 80, count=60)
    assert max(map(max, square)) <= 80
    assert min(map(min, square)) < 30


def test_the_long_side_is_limited():
    torch.manual_seed(0)
    image, target = sample(100, 300)
    # 288 x 864 exceeds the limit of 480 px, which is that of a short side of 288 px.
    sizes = {
        tuple(build_augmentation("multiscale", NANO, 256)(image, target)[0].shape[1:]) for _ in range(20)
    }
    assert sizes == {(160, 480)}


def test_augmentation_can_be_pickled():
    copied = pickle.loads(pickle.dumps(build_augmentation("multiscale", DEFAULT, 80)))
    assert copied(*sample(100, 160))[0].dtype == torch.float32


def test_unknown_augmentation():
    with pytest.raises(ValueError, match="'multscale': did you mean 'multiscale'"):
        build_augmentation("multscale", DEFAULT, 80)


@pytest.mark.parametrize("name", ["flip", "multiscale", "lsj"])
def test_polygons_move_with_the_boxes(name):
    torch.manual_seed(0)
    augment = build_augmentation(name, DEFAULT, 80)
    image, target = sample(100, 160)
    rectangles = [[[10, 5, 60, 5, 60, 45, 10, 45]], [[70, 60, 150, 60, 150, 90, 70, 90]]]
    target["masks"] = PolygonMasks.from_coco(rectangles, (100, 160))
    for _ in range(20):
        augmented, result = augment(image, target)
        assert result["masks"].shape == (len(result["boxes"]), *augmented.shape[1:])
        # LSJ leaves a margin of 1 px around the visible part of a mask.
        margin = 1 if name == "lsj" else 0
        torch.testing.assert_close(
            result["masks"].visible_boxes(), result["boxes"], atol=margin + 1e-3, rtol=0
        )
    assert len(target["masks"]) == 2  # unchanged


@pytest.mark.parametrize("name", ["flip", "multiscale", "lsj"])
def test_a_thin_image_is_not_scaled_to_nothing(name):
    torch.manual_seed(0)
    augment = build_augmentation(name, DEFAULT, 80)
    target = {
        "boxes": tv_tensors.BoundingBoxes(torch.zeros(0, 4), format="XYXY", canvas_size=(3, 900)),
        "labels": torch.zeros(0, dtype=torch.int64),
        "masks": tv_tensors.Mask(torch.zeros(0, 3, 900, dtype=torch.uint8)),
    }
    for _ in range(20):
        image, _ = augment(tv_tensors.Image(torch.zeros(3, 3, 900, dtype=torch.uint8)), target)
        assert min(image.shape) > 0


def test_a_crop_has_the_resolution_of_the_image():
    crop = RandomCrop((50,), (60, 70))  # at a scale of 1/2, so 120 to 140 px of this image
    sizes = {tuple(crop(torch.zeros(3, 100, 200)).shape[1:]) for _ in range(30)}
    assert {height for height, _ in sizes} == {100}  # a side that is shorter is kept
    widths = {width for _, width in sizes}
    assert widths <= set(range(120, 141, 2))
    assert len(widths) > 5


def cropped_objects():
    """Return a whole object, a cropped one and an invisible one in an image of 40 x 40 px."""
    masks = torch.zeros(3, 20, 20, dtype=torch.uint8)  # half the resolution of the image
    masks[0, 2:8, 3:9] = 1
    masks[1, 0:5, 15:20] = 1
    boxes = torch.tensor([[5.2, 4.4, 18.6, 15.8], [20, -60, 120, 16], [10, 10, 18, 18]])
    return {"boxes": boxes, "labels": torch.tensor([1, 2, 3]), "masks": masks}


def test_boxes_are_clipped_to_the_image():
    target = cropped_objects()
    visible = keep_visible(target, (40, 40))
    assert visible["labels"].tolist() == [1, 2]
    torch.testing.assert_close(visible["boxes"], torch.tensor([[5.2, 4.4, 18.6, 15.8], [20, 0, 40, 16]]))
    assert torch.equal(visible["masks"], target["masks"][:2])


def test_boxes_are_clipped_to_the_visible_masks():
    visible = keep_visible(cropped_objects(), (40, 40), boxes_from_masks=True)
    # The cropped object begins at 30 px. One pixel of the mask, 2 px of the image, is left around it.
    torch.testing.assert_close(visible["boxes"], torch.tensor([[5.2, 4.4, 18.6, 15.8], [28, 0, 40, 12]]))


def test_objects_without_masks():
    target = {
        "boxes": torch.tensor([[-4.0, 3, 6, 9], [41, 0, 60, 5], [3, 7, 3, 9]]),
        "labels": torch.tensor([1, 2, 3]),
    }
    for boxes_from_masks in (False, True):
        visible = keep_visible(target, (10, 40), boxes_from_masks)
        assert visible["boxes"].tolist() == [[0, 3, 6, 9]]
        assert visible["labels"].tolist() == [1]
        assert set(visible) == {"boxes", "labels"}


def test_an_image_without_objects():
    image, target = sample(100, 160)
    no_objects = {k: v[:0] if isinstance(v, torch.Tensor) else v for k, v in target.items()}
    no_objects["masks"] = tv_tensors.Mask(no_objects["masks"])
    no_objects["boxes"] = tv_tensors.BoundingBoxes(no_objects["boxes"], format="XYXY", canvas_size=(100, 160))
    out = build_augmentation("multiscale", DEFAULT, 80)(image, no_objects)[1]
    assert out["boxes"].shape == (0, 4)
    assert out["masks"].shape[0] == 0


def test_evaluation_keeps_the_size():
    image, target = sample(100, 160)
    evaluated, same_target = to_float(image, target)
    assert evaluated.shape == (3, 100, 160)
    assert evaluated.dtype == torch.float32
    assert same_target is target
