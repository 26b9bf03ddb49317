import json

import pytest

from mvit_det.data.dataset import read_dataset
from mvit_det.data.image_checks import check_images
from mvit_det.errors import InputError


def check(folder, **options):
    dataset = read_dataset(folder / "data.json", folder / "images", **options)
    return check_images(dataset, lambda items, total: items, **options)


def test_every_image_of_a_data_set_is_checked(coco_folder):
    assert check(coco_folder).problems == ()
    path = coco_folder / "images" / "b.png"
    path.write_bytes(path.read_bytes()[:-99])
    with pytest.raises(InputError, match=r"b\.png: is truncated or damaged"):
        check(coco_folder)
    dataset = check(coco_folder, drop_invalid=True)
    assert [problem.kind for problem in dataset.problems] == ["damaged_image"]
    assert list(dataset.coco.imgs) == [7]
    assert sorted(dataset.coco.anns) == [1, 2, 3]
    (coco_folder / "images" / "a.png").write_bytes(b"")
    with pytest.raises(
        InputError, match=r"a\.png: is empty; .*; and 1 more problem of the same kind; `mvit-det"
    ):
        check(coco_folder)
    dataset = read_dataset(coco_folder / "data.json", coco_folder / "images")
    (coco_folder / "images").rename(coco_folder / "moved")
    with pytest.raises(InputError, match="images: no such folder"):
        check_images(dataset, lambda items, total: items)


def test_annotations_of_a_dropped_image_are_dropped_and_the_others_numbered_again(coco_folder, coco_data):
    coco_data["annotations"][1] |= {"image_id": 3, "segmentation": None, "bbox": [1, 2, 3, 4]}
    (coco_folder / "data.json").write_text(json.dumps(coco_data))
    (coco_folder / "images" / "a.png").write_bytes(b"")
    dataset = check(coco_folder, drop_invalid=True)
    assert [entry["bbox"] for entry in dataset.coco.anns.values()] == [[1, 2, 3, 4]]
    assert list(dataset.coco.anns) == [1]
    assert dataset.num_objects == 1
