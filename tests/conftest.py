import json
import os
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image

from mvit_det.ops.availability import has_native

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read where Triton is imported: its kernels run on a CPU


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


@pytest.fixture
def kernels(monkeypatch):
    """Let our Triton kernels run in Triton's interpreter, in any dtype; it cannot multiply bfloat16."""
    if find_spec("triton") is None or torch.cuda.is_available():
        pytest.skip("needs Triton's interpreter: Triton, and no GPU")
    for module in ("norm", "attention"):
        monkeypatch.setattr(f"mvit_det.ops.{module}.has_triton", lambda device, dtype: True)


@pytest.fixture
def native():
    if not has_native("cpu", torch.float32):
        pytest.skip("needs a processor with AVX2 and a C compiler")
