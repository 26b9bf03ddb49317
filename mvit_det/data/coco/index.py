"""pycocotools' index of a data set."""

import contextlib
import io
from typing import Any

from pycocotools.coco import COCO


def index_coco(data: dict[str, Any]) -> COCO:
    """Return pycocotools' index of the contents of a COCO file, without what pycocotools prints."""
    coco = COCO()
    coco.dataset = data
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def category_names(coco: COCO) -> dict[int, str]:
    """Return category id -> name, sorted by id. Labels 1, 2, ... follow the same order."""
    return {category["id"]: category["name"] for category in coco.loadCats(sorted(coco.getCatIds()))}
