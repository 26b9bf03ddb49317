"""Read a COCO-format JSON, and check it before anything is computed or allocated from it."""

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
    read_json,
    require,
    short,
    to_numbers,
)
from mvit_det.errors import InputError

MAX_SIDE = 32_767  # px; more would overflow what pycocotools allocates
LISTS = ("images", "annotations", "categories")


def read_coco(path: Path) -> COCO:
    """Read a COCO-format instance file and return pycocotools' index of it.

    Boxes are [x, y, width, height] and polygons [x, y, x, y, ...], in pixels. A missing ``iscrowd``
    is 0 and a missing ``area`` is that of the mask; annotations are numbered anew from 1, since
    pycocotools takes the id 0 for "no match".

    Raises:
        InputError: naming the file, the field and what would be right, if the file is missing, is
            not JSON, lacks a list, repeats or misses an id, or holds a box or a mask that is not
            finite or does not fit its picture.

    Source: the COCO data format, https://cocodataset.org/#format-data.
    """
    data = read_json(path, dict, f"an object with {', '.join(LISTS)}")
    try:
        _check(data)
    except FieldError as error:
        raise InputError(f"{path}: {error}") from None
    for number, annotation in enumerate(data["annotations"], start=1):
        annotation["id"] = number
    coco = index_coco(data)
    for annotation in data["annotations"]:
        if "area" not in annotation:
            annotation["area"] = float(coco_mask.area(coco.annToRLE(annotation)))
    return coco


def index_coco(data: dict[str, Any]) -> COCO:
    """Return pycocotools' index of the contents of a COCO file, without its printing."""
    coco = COCO()
    coco.dataset = data
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def category_names(coco: COCO) -> dict[int, str]:
    """Return category id -> name in the order of the ids, which is the order of the labels 1, 2, ..."""
    return {category["id"]: category["name"] for category in coco.loadCats(sorted(coco.getCatIds()))}


def _check(data: Mapping[str, Any]) -> None:
    for name in LISTS:
        if not isinstance(data.get(name), list):
            found = "is missing" if name not in data else "is not a list"
            raise FieldError(f"{name}: {found}; a COCO file has the lists {', '.join(LISTS)}")
        check_objects(data[name], name)
    for name in ("images", "categories"):
        if not data[name]:
            raise FieldError(f"{name}: is empty; expected at least one")
    for number, category in enumerate(data["categories"]):
        require(category, f"categories[{number}]", id=int, name=str)
    for number, image in enumerate(data["images"]):
        _check_image(image, f"images[{number}]")
    images = _by_id(data, "images")
    categories = _by_id(data, "categories")
    for number, annotation in enumerate(data["annotations"]):
        _check_annotation(annotation, f"annotations[{number}]", images, categories)


def _check_image(image: Mapping[str, Any], where: str) -> None:
    require(image, where, id=int, file_name=str, width=int, height=int)
    if not (1 <= image["width"] <= MAX_SIDE and 1 <= image["height"] <= MAX_SIDE):
        size = f"{image['width']} x {image['height']}"
        raise FieldError(f"{where}: width x height {size} must be from 1 to {MAX_SIDE} px")


def _by_id(data: Mapping[str, Any], name: str) -> dict[int, dict[str, Any]]:
    repeated = [key for key, count in Counter(e["id"] for e in data[name]).items() if count > 1]
    if repeated:
        raise FieldError(f"{name}: the id {repeated[0]} stands more than once; ids must differ")
    return {entry["id"]: entry for entry in data[name]}


def _check_annotation(
    annotation: dict[str, Any],
    where: str,
    images: Mapping[int, Mapping[str, Any]],
    categories: Mapping[int, Any],
) -> None:
    check_references(annotation, where, images, categories)
    if annotation.setdefault("iscrowd", 0) not in (0, 1):
        raise FieldError(f"{where}.iscrowd: {short(annotation['iscrowd'])} is neither 0 nor 1")
    if "area" in annotation:
        to_numbers([annotation["area"]], f"{where}.area", "the mask's area in pixels")
    check_box(annotation.get("bbox"), f"{where}.bbox")
    image = images[annotation["image_id"]]
    check_segmentation(annotation.get("segmentation"), f"{where}.segmentation", image)
