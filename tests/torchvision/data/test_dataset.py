import json

import pytest
import torch
from torchvision import tv_tensors

from mvit_det.data.dataset import read_dataset
from mvit_det.errors import InputError
from mvit_det.torchvision.data.dataset import CocoDataset


@pytest.fixture
def dataset(coco_folder):
    return CocoDataset(read_dataset(coco_folder / "data.json", None).coco, coco_folder / "images")


def test_objects_of_an_image(dataset):
    assert dataset.ids == [3, 7]
    image, target = dataset[1]
    assert image.shape == (3, 40, 60)
    assert image.dtype == torch.uint8
    assert target["image_id"] == 7
    assert target["labels"].tolist() == [2, 1]  # category ids 90 and 4, without the crowd
    assert isinstance(target["boxes"], tv_tensors.BoundingBoxes)
    assert target["boxes"].tolist() == [[10, 5, 30, 15], [30, 0, 60, 40]]
    assert target["masks"].flatten(1).sum(1).tolist() == [200, 1200]
    assert target["masks"][0, 5:15, 10:30].all()


def test_masks_are_polygons_if_the_annotations_are(coco_data, coco_folder):
    del coco_data["annotations"][1]  # the RLE of an object; that of the crowd is left
    (coco_folder / "polygons.json").write_text(json.dumps(coco_data))
    _, target = CocoDataset(read_dataset(coco_folder / "polygons.json", None).coco, coco_folder / "images")[1]
    assert target["masks"].polygons[0][0].tolist() == [[10, 5], [30, 5], [30, 15], [10, 15]]
    assert target["masks"].shape == (1, 40, 60)


def test_boxes_alone(coco_folder):
    coco = read_dataset(coco_folder / "data.json", None).coco
    for entry in coco.anns.values():
        entry.pop("segmentation")
    _, target = CocoDataset(coco, coco_folder / "images", with_masks=False)[1]
    assert set(target) == {"image_id", "boxes", "labels"}


def test_an_image_without_objects(dataset):
    _, target = dataset[0]
    assert target["boxes"].shape == (0, 4)
    assert target["labels"].shape == (0,)
    assert target["labels"].dtype == torch.int64
    assert target["masks"].shape == (0, 50, 30)


def test_a_damaged_image_is_named(dataset, coco_folder):
    (coco_folder / "images" / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"a\.png: is empty"):
        dataset[1]
