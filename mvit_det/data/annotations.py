"""Reading of COCO-format files without their images."""

from pathlib import Path

from pycocotools.coco import COCO

from mvit_det.data.coco_index import category_names, index_coco
from mvit_det.data.dataset import read_dataset

__all__ = ["category_names", "index_coco", "read_coco"]


def read_coco(path: Path) -> COCO:
    """Read and check a COCO-format file; see :func:`mvit_det.data.dataset.read_dataset`."""
    return read_dataset(path, None).coco
