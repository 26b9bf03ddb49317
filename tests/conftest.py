import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def coco_data():
    """Two categories with ids that are not contiguous; a polygon, two RLE, a crowd, an empty picture."""
    half = {"size": [40, 60], "counts": [1200, 1200]}  # columns 30 to 59
    return {
        "images": [
            {"id": 7, "file_name": "a.png", "width": 60, "height": 40},
            {"id": 3, "file_name": "b.png", "width": 30, "height": 50},
        ],
        "annotations": [
            {
                "id": 0,
                "image_id": 7,
                "category_id": 90,
                "bbox": [10, 5, 20, 10],
                "segmentation": [[10, 5, 30, 5, 30, 15, 10, 15]],
                "iscrowd": 0,
            },
            {
                "id": 1,
                "image_id": 7,
                "category_id": 4,
                "bbox": [30, 0, 30, 40],
                "segmentation": half,
                "iscrowd": 0,
                "area": 1200,
            },
            {
                "id": 2,
                "image_id": 7,
                "category_id": 4,
                "bbox": [30, 0, 30, 40],
                "segmentation": half,
                "iscrowd": 1,
                "area": 1200,
            },
        ],
        "categories": [{"id": 90, "name": "nut"}, {"id": 4, "name": "bolt"}],
    }


@pytest.fixture
def coco_folder(tmp_path, coco_data):
    """The data set of ``coco_data`` as ``data.json`` and ``images`` in a folder."""
    (tmp_path / "images").mkdir()
    random = np.random.default_rng(0)
    for image in coco_data["images"]:
        pixels = random.integers(0, 256, (image["height"], image["width"], 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / image["file_name"])
    (tmp_path / "data.json").write_text(json.dumps(coco_data))
    return tmp_path
