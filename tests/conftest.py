"""Fixtures that several test folders use, and the handling of the markers ``gpu`` and ``detectron2``."""

import json
import os
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mvit_det import MViT
from mvit_det.dependencies import explain_detectron2
from mvit_det.ops.availability import has_native

DETECTRON2_TESTS = Path(__file__).with_name("detectron2")

# Triton's interpreter needs no GPU. Triton reads this at import, and the conftest.py of another folder may
# import it before pytest_configure runs.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"


def pytest_configure():
    # The models are small: more threads gain little, and results would depend on the number of cores.
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start


@cache
def detectron2_problem():
    """Return why Detectron2 cannot be imported, or None if it can."""
    try:
        import_module("detectron2.modeling")
    except Exception as error:
        return explain_detectron2(error)
    return None


class Detectron2Module(pytest.Module):
    """A test module that is marked ``detectron2``, and skipped if Detectron2 cannot be imported."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.add_marker("detectron2")

    def collect(self):
        if detectron2_problem():
            pytest.skip(detectron2_problem(), allow_module_level=True)
        return super().collect()


def pytest_pycollect_makemodule(module_path, parent):
    if DETECTRON2_TESTS in module_path.parents:
        return Detectron2Module.from_parent(parent, path=module_path)
    return None


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    if item.get_closest_marker("detectron2") and detectron2_problem():
        pytest.skip(detectron2_problem())


@pytest.fixture(autouse=True)
def _seed():
    """Seed torch, so that a test draws the same numbers in any order."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def _cache_folder(tmp_path_factory):
    """Keep the record of checked images out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        yield


@pytest.fixture
def coco_data():
    """A data set with gaps in the category ids, a polygon, two RLE masks, a crowd, and an empty image."""
    right_half = {"size": [40, 60], "counts": [1200, 1200]}  # columns 30 to 59
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
                "segmentation": right_half,
                "iscrowd": 0,
                "area": 1200,
            },
            {
                "id": 2,
                "image_id": 7,
                "category_id": 4,
                "bbox": [30, 0, 30, 40],
                "segmentation": right_half,
                "iscrowd": 1,
                "area": 1200,
            },
        ],
        "categories": [{"id": 90, "name": "nut"}, {"id": 4, "name": "bolt"}],
    }


@pytest.fixture
def coco_folder(tmp_path, coco_data):
    """A folder with ``coco_data`` as ``data.json``, and its images in ``images``."""
    (tmp_path / "images").mkdir()
    random = np.random.default_rng(0)
    for image in coco_data["images"]:
        pixels = random.integers(0, 256, (image["height"], image["width"], 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / image["file_name"])
    (tmp_path / "data.json").write_text(json.dumps(coco_data))
    return tmp_path


@pytest.fixture
def out_of_memory(monkeypatch):
    """Let every MViT fail as on a GPU of 4 GiB that lacks memory for 2 GiB."""

    def forward(self, images):
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 4.00 GiB of which "
            "1.00 GiB is free. If reserved but unallocated memory is large try ..."
        )

    monkeypatch.setattr(MViT, "forward", forward)


@pytest.fixture
def kernels(monkeypatch):
    """Run our Triton kernels in Triton's interpreter, in any dtype; it cannot multiply bfloat16."""
    if find_spec("triton") is None or torch.cuda.is_available():
        pytest.skip("needs Triton's interpreter: Triton, and no GPU")
    for module in ("norm", "attention"):
        monkeypatch.setattr(f"mvit_det.ops.{module}.has_triton", lambda device, dtype: True)


@pytest.fixture
def native():
    """Skip the test if the C kernel is not available."""
    if not has_native("cpu", torch.float32):
        pytest.skip("needs a processor with AVX2 and a C compiler")
