"""Samples have the pixels of this package's image reader."""

import sys

import numpy as np
import pytest
import torch
from detectron2.data import transforms as T
from detectron2.structures import BoxMode
from PIL import Image

from mvit_det.data.coco.index import index_coco
from mvit_det.detectron2.data.mapper import DetectionMapper
from mvit_det.errors import DependencyError, ImageError
from mvit_det.torchvision.data.dataset import CocoDataset


def gray_16(path):
    """Two columns: 0x1234 and 0xFF00, which are 0x12 and 0xFF in 8 bits."""
    Image.fromarray(np.array([[0x1234, 0xFF00]] * 3, np.uint16)).save(path)
    return [[(0x12,) * 3, (0xFF,) * 3]] * 3


def transparent(path):
    """A red pixel beside a transparent one with a hidden green."""
    Image.fromarray(np.array([[[255, 0, 0, 255], [0, 255, 0, 0]]], np.uint8), "RGBA").save(path)
    return [[(255, 0, 0), (255, 255, 255)]]


def rotated(path):
    """A blue pixel above a black one, stored as a row that EXIF says to rotate by 90 degrees clockwise."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.array([[[0, 0, 255], [0, 0, 0]]], np.uint8)).save(path, exif=exif)
    return [[(0, 0, 255)], [(0, 0, 0)]]


@pytest.mark.parametrize("is_train", [True, False])
@pytest.mark.parametrize("write", [gray_16, transparent, rotated])
def test_pixels_are_those_of_the_image_reader(tmp_path, write, is_train):
    path = tmp_path / "image.png"
    expected = np.array(write(path), np.uint8)
    height, width = expected.shape[:2]
    sample = {"file_name": str(path), "height": height, "width": width, "annotations": []}
    for image_format, order in (("RGB", [0, 1, 2]), ("BGR", [2, 1, 0])):
        mapped = DetectionMapper(is_train, augmentations=[], image_format=image_format)(sample)
        assert mapped["image"].permute(1, 2, 0).tolist() == expected[..., order].tolist()
    entry = {"id": 1, "file_name": path.name, "height": height, "width": width}
    coco = index_coco({"images": [entry], "annotations": [], "categories": []})
    image, _ = CocoDataset(coco, tmp_path)[0]  # of the other integration
    assert image.permute(1, 2, 0).tolist() == expected.tolist()
    with pytest.raises(
        ImageError, match=rf"\.\w+: is {width} x {height} px upright, but its entry says {width} x 9"
    ):
        DetectionMapper(is_train, augmentations=[], image_format="RGB")(sample | {"height": 9})


def test_augmentation_moves_boxes_and_masks_with_the_pixels(tmp_path):
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[1:3, 0:2] = 255
    Image.fromarray(pixels).save(tmp_path / "image.png")
    box = {"bbox": [0, 1, 2, 2], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0, "iscrowd": 0}
    box["segmentation"] = [[0, 1, 2, 1, 2, 3, 0, 3]]
    sample = {"file_name": str(tmp_path / "image.png"), "height": 4, "width": 6, "annotations": [box]}
    for use_masks in (True, False):
        mapper = DetectionMapper(
            True,
            augmentations=[T.RandomFlip(prob=1.0), T.Resize((8, 12))],
            image_format="RGB",
            use_instance_mask=use_masks,
            instance_mask_format="bitmask",
        )
        mapped = mapper(sample)
        assert mapped["instances"].gt_boxes.tensor.tolist() == [[8, 2, 12, 6]]
        assert mapped["image"][:, 3:5, 9:].min() == 255
        assert mapped["instances"].has("gt_masks") == use_masks
        if use_masks:
            expected = torch.zeros(8, 12, dtype=torch.bool)
            expected[2:6, 8:12] = True
            assert torch.equal(mapped["instances"].gt_masks.tensor[0], expected)
    assert len(sample["annotations"]) == 1  # the data set is not changed


def test_crops_of_polygons_need_shapely(monkeypatch):
    monkeypatch.setitem(sys.modules, "shapely.geometry", None)
    crop = T.RandomApply(T.AugmentationList([T.RandomCrop("absolute", (8, 8))]), prob=0.5)
    keywords = {"image_format": "RGB", "augmentations": [T.RandomFlip(), crop]}
    with pytest.raises(DependencyError, match="cropping of polygons needs the package shapely"):
        DetectionMapper(True, use_instance_mask=True, **keywords)
    DetectionMapper(True, **keywords)
    DetectionMapper(True, use_instance_mask=True, image_format="RGB", augmentations=[T.RandomFlip()])


def test_an_image_with_only_a_crowd_has_no_objects(tmp_path):
    Image.new("RGB", (6, 4)).save(tmp_path / "image.png")
    crowd = {"bbox": [0, 1, 2, 2], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0, "iscrowd": 1}
    for annotations in ([], [crowd]):
        mapper = DetectionMapper(
            True, augmentations=[], image_format="RGB", use_instance_mask=True, recompute_boxes=True
        )
        path = str(tmp_path / "image.png")
        mapped = mapper({"file_name": path, "height": 4, "width": 6, "annotations": annotations})
        assert len(mapped["instances"]) == 0
        assert mapped["instances"].gt_boxes.tensor.shape == (0, 4)
        assert "annotations" not in mapped
