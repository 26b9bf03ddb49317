import json

import numpy as np
import pytest

from mvit_det.data.dataset import read_dataset
from mvit_det.data.results import read_results, to_results
from mvit_det.errors import InputError

ENTRY = {"image_id": 7, "category_id": 90, "bbox": [10, 5, 20, 10], "score": 0.5}


def read(folder, results):
    path = folder / "results.json"
    path.write_text(json.dumps(results))
    return read_results(path, read_dataset(folder / "data.json", None).coco)


def test_results_are_read_as_written(coco_folder):
    mask = np.zeros((1, 40, 60), bool)
    mask[0, 5:15, 10:30] = True
    written = to_results(7, np.array([[10, 5, 30, 15]]), np.array([0.5]), mask, [90])
    assert read(coco_folder, written) == written
    assert read(coco_folder, []) == []


def test_masks_and_boxes_are_optional(coco_folder):
    boxes = [ENTRY, ENTRY | {"segmentation": []}]
    assert read(coco_folder, boxes) == [ENTRY, ENTRY]
    polygon = {k: v for k, v in ENTRY.items() if k != "bbox"}
    polygon["segmentation"] = [[10, 5, 30, 5, 30, 15, 10, 15]]
    entry = read(coco_folder, [polygon])[0]
    assert entry["bbox"] == [10, 5, 20, 10]
    assert entry["segmentation"]["size"] == [40, 60]


def test_detections_without_masks_have_no_segmentation():
    entries = to_results(7, np.array([[10, 5, 30, 15]]), np.array([0.5]), None, [90])
    assert entries == [ENTRY]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 8}, r"results\[1\]\.image_id: no entry of images has the id 8"),
        ({"category_id": 1}, r"results\[1\]\.category_id: no entry of categories has the id 1"),
        ({"score": None}, r"results\[1\]\.score: null is not a finite number"),
        ({"score": float("nan")}, r"score: NaN is not a finite number"),
        ({"bbox": [1, 2, 3]}, r"results\[1\]\.bbox: \[1, 2, 3\] is not \[x, y, width, height\]"),
        ({"bbox": None}, r"bbox: is missing"),
        (
            {"segmentation": {"size": [60, 40], "counts": [2400]}},
            r"\[60, 40\] is not the \[height, width\] of its image, \[40, 60\]",
        ),
    ],
)
def test_a_bad_detection_is_named(coco_folder, change, message):
    with pytest.raises(InputError, match=rf"results\.json: .*{message}"):
        read(coco_folder, [ENTRY, ENTRY | change])


def test_a_file_that_is_not_a_list_of_detections_is_rejected(coco_folder):
    with pytest.raises(InputError, match="holds a dict; expected a list of detections"):
        read(coco_folder, {"annotations": []})
    with pytest.raises(InputError, match=r"results\[0\]: 5 is not an object"):
        read(coco_folder, [5])
