"""Reading and checking of COCO-format annotations."""

import contextlib
import io
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from mvit_det.data.fields import (
    FieldError,
    check_box,
    check_objects,
    check_references,
    check_segmentation,
    require,
    shorten,
    to_numbers,
)
from mvit_det.data.json_files import read_json
from mvit_det.errors import InputError

MAX_SIDE = 32_767  # px; pycocotools' allocations overflow above it
LISTS = ("images", "annotations", "categories")


def read_coco(path: Path) -> COCO:
    """Read and check a COCO-format file of object instances.

    Boxes are [x, y, width, height] and polygons [x, y, x, y, ...], in pixels. A missing ``iscrowd`` is set
    to 0, and a missing ``area`` is computed from the mask. Annotations are renumbered from 1, because
    pycocotools uses the id 0 for "no match".

    Raises:
        InputError: if the file is missing or is not JSON, if a list or an id is missing, if ids repeat, or if
            a box or a mask is not finite or does not fit its image. The message names the file, the field and
            the expected value.

    Source: the COCO data format, https://cocodataset.org/#format-data.
    """
    data = read_json(path, dict, f"an object with {', '.join(LISTS)}")
    check_coco(data, path)
    return index_coco(data)


def check_coco(data: dict[str, Any], path: Path) -> None:
    """Check the contents of a COCO-format file, and add missing fields."""
    try:
        _check_data(data)
    except FieldError as error:
        raise InputError(f"{path}: {error}") from None
    for number, annotation in enumerate(data["annotations"], start=1):
        annotation["id"] = number
    coco = index_coco(data)
    for annotation in data["annotations"]:
        if not annotation.get("segmentation"):
            annotation.pop("segmentation", None)
            annotation.setdefault("area", annotation["bbox"][2] * annotation["bbox"][3])
        elif "area" not in annotation:
            annotation["area"] = float(coco_mask.area(coco.annToRLE(annotation)))


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


def _check_data(data: Mapping[str, Any]) -> None:
    for name in LISTS:
        if not isinstance(data.get(name), list):
            problem = "is missing" if name not in data else "is not a list"
            raise FieldError(f"{name}: {problem}; a COCO file has the lists {', '.join(LISTS)}")
        check_objects(data[name], name)
    for name in ("images", "categories"):
        if not data[name]:
            raise FieldError(f"{name}: is empty; expected at least one entry")
    for index, category in enumerate(data["categories"]):
        require(category, f"categories[{index}]", id=int, name=str)
    for index, image in enumerate(data["images"]):
        _check_image(image, f"images[{index}]")
    images = _by_id(data, "images")
    categories = _by_id(data, "categories")
    for index, annotation in enumerate(data["annotations"]):
        _check_annotation(annotation, f"annotations[{index}]", images, categories)


def _check_image(image: Mapping[str, Any], where: str) -> None:
    require(image, where, id=int, file_name=str, width=int, height=int)
    if not (1 <= image["width"] <= MAX_SIDE and 1 <= image["height"] <= MAX_SIDE):
        size = f"{image['width']} x {image['height']}"
        raise FieldError(f"{where}: width x height {size} must be from 1 to {MAX_SIDE} px")


def _by_id(data: Mapping[str, Any], name: str) -> dict[int, dict[str, Any]]:
    counts = Counter(entry["id"] for entry in data[name])
    repeated = [id_ for id_, count in counts.items() if count > 1]
    if repeated:
        raise FieldError(f"{name}: the id {repeated[0]} is repeated; ids must be unique")
    return {entry["id"]: entry for entry in data[name]}


def _check_annotation(
    annotation: dict[str, Any],
    where: str,
    images: Mapping[int, Mapping[str, Any]],
    categories: Mapping[int, Any],
) -> None:
    check_references(annotation, where, images, categories)
    if annotation.setdefault("iscrowd", 0) not in (0, 1):
        raise FieldError(f"{where}.iscrowd: {shorten(annotation['iscrowd'])} is neither 0 nor 1")
    if "area" in annotation:
        to_numbers([annotation["area"]], f"{where}.area", "the area of the mask in pixels")
    check_box(annotation.get("bbox"), f"{where}.bbox")
    image = images[annotation["image_id"]]
    if annotation.get("segmentation"):
        check_segmentation(annotation["segmentation"], f"{where}.segmentation", image)
