"""Read a COCO-format JSON, and check it before anything is computed or allocated from it."""

import contextlib
import io
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

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
    data = _read_json(path)
    try:
        _check(data)
    except _FieldError as error:
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


class _FieldError(Exception):
    """What is wrong with which field; :func:`read_coco` adds the file."""


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected a COCO-format JSON") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InputError(f"{path}: is not JSON: {error.msg} at {where}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: holds a {type(data).__name__}; expected an object with {', '.join(LISTS)}")
    return data


def _check(data: Mapping[str, Any]) -> None:
    for name in LISTS:
        if not isinstance(data.get(name), list):
            found = "is missing" if name not in data else "is not a list"
            raise _FieldError(f"{name}: {found}; a COCO file has the lists {', '.join(LISTS)}")
        for number, entry in enumerate(data[name]):
            if not isinstance(entry, dict):
                raise _FieldError(f"{name}[{number}]: {_short(entry)} is not an object")
    for name in ("images", "categories"):
        if not data[name]:
            raise _FieldError(f"{name}: is empty; expected at least one")
    for number, category in enumerate(data["categories"]):
        _require(category, f"categories[{number}]", id=int, name=str)
    for number, image in enumerate(data["images"]):
        _check_image(image, f"images[{number}]")
    images = _by_id(data, "images")
    categories = _by_id(data, "categories")
    for number, annotation in enumerate(data["annotations"]):
        _check_annotation(annotation, f"annotations[{number}]", images, categories)


def _require(entry: Mapping[str, Any], where: str, **fields: type) -> None:
    for field, kind in fields.items():
        if field not in entry:
            raise _FieldError(f"{where}.{field}: is missing; expected {_NAMES[kind]}")
        if not isinstance(entry[field], kind) or isinstance(entry[field], bool):
            raise _FieldError(f"{where}.{field}: {_short(entry[field])} is not {_NAMES[kind]}")


_NAMES = {int: "a whole number", str: "a text"}


def _check_image(image: Mapping[str, Any], where: str) -> None:
    _require(image, where, id=int, file_name=str, width=int, height=int)
    if not (1 <= image["width"] <= MAX_SIDE and 1 <= image["height"] <= MAX_SIDE):
        size = f"{image['width']} x {image['height']}"
        raise _FieldError(f"{where}: width x height {size} must be from 1 to {MAX_SIDE} px")


def _by_id(data: Mapping[str, Any], name: str) -> dict[int, dict[str, Any]]:
    repeated = [key for key, count in Counter(e["id"] for e in data[name]).items() if count > 1]
    if repeated:
        raise _FieldError(f"{name}: the id {repeated[0]} stands more than once; ids must differ")
    return {entry["id"]: entry for entry in data[name]}


def _check_annotation(
    annotation: dict[str, Any],
    where: str,
    images: Mapping[int, Mapping[str, Any]],
    categories: Mapping[int, Any],
) -> None:
    _require(annotation, where, image_id=int, category_id=int)
    for field, known, of in (
        ("image_id", images, "images"),
        ("category_id", categories, "categories"),
    ):
        if annotation[field] not in known:
            raise _FieldError(f"{where}.{field}: no entry of {of} has the id {annotation[field]}")
    if annotation.setdefault("iscrowd", 0) not in (0, 1):
        raise _FieldError(f"{where}.iscrowd: {_short(annotation['iscrowd'])} is neither 0 nor 1")
    if "area" in annotation:
        _numbers([annotation["area"]], f"{where}.area", "the mask's area in pixels")
    box = _numbers(annotation.get("bbox"), f"{where}.bbox", "[x, y, width, height] in pixels")
    if len(box) != 4 or box[2] < 0 or box[3] < 0:
        raise _FieldError(
            f"{where}.bbox: {_short(annotation['bbox'])} is not [x, y, width, height] in pixels"
        )
    image = images[annotation["image_id"]]
    _check_segmentation(annotation.get("segmentation"), f"{where}.segmentation", image)


def _check_segmentation(segmentation: Any, where: str, image: Mapping[str, Any]) -> None:
    if isinstance(segmentation, dict):
        _check_rle(segmentation, where, image)
    elif isinstance(segmentation, list) and segmentation:
        side = max(image["width"], image["height"])
        for number, polygon in enumerate(segmentation):
            field = f"{where}[{number}]"
            points = _numbers(polygon, field, "a polygon [x, y, x, y, ...] in pixels")
            if len(points) < 6 or len(points) % 2:
                raise _FieldError(
                    f"{field}: {len(points)} numbers are not a polygon; expected x and y of at "
                    "least three points"
                )
            if points.min() < -side or points.max() > 2 * side:  # pycocotools walks every pixel
                raise _FieldError(
                    f"{field}: the polygon reaches from {points.min():g} to {points.max():g}, far "
                    f"outside its picture of {image['width']} x {image['height']} px"
                )
    else:
        found = "is missing" if not segmentation else f"{_short(segmentation)} is not a mask"
        raise _FieldError(f"{where}: {found}; a mask head trains on polygons or RLE")


def _check_rle(rle: Mapping[str, Any], where: str, image: Mapping[str, Any]) -> None:
    size = [image["height"], image["width"]]
    if rle.get("size") != size:
        raise _FieldError(f"{where}.size: {_short(rle.get('size'))} is not its picture's {size}")
    counts = rle.get("counts")
    if isinstance(counts, str):
        runs: Sequence[int] = _decode_counts(counts, f"{where}.counts")
    elif isinstance(counts, list) and all(type(run) is int for run in counts):
        runs = counts
    else:
        raise _FieldError(f"{where}.counts: {_short(counts)} is neither a text nor a list of runs")
    if min(runs, default=0) < 0 or sum(runs) != size[0] * size[1]:
        raise _FieldError(
            f"{where}.counts: the runs cover {sum(runs)} pixels of the picture's {size[0] * size[1]}"
        )


def _decode_counts(text: str, where: str) -> list[int]:
    """Return the runs of COCO's compressed RLE; pycocotools itself decodes a wrong one into noise.

    Each run is written in groups of five bits, lowest first, from the character "0" on; the sixth
    bit says that more follow, the fifth of the last group is the sign, and from the fourth run on it
    is the difference to the run two before.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise _FieldError(f"{where}: {character!r} stands in no compressed RLE")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise _FieldError(f"{where}: the last run is not complete")
    return runs


def _numbers(value: Any, where: str, expected: str) -> np.ndarray:
    if value is None:
        raise _FieldError(f"{where}: is missing; expected {expected}")
    try:
        numbers = np.asarray(value)
    except ValueError:  # lists of different lengths
        raise _FieldError(f"{where}: {_short(value)} is not {expected}") from None
    if numbers.ndim != 1 or numbers.dtype.kind not in "iuf":
        raise _FieldError(f"{where}: {_short(value)} is not {expected}")
    if not np.isfinite(numbers).all():
        bad = next(v for v in numbers.tolist() if not math.isfinite(v))
        raise _FieldError(f"{where}: holds {bad}, which is not finite; expected {expected}")
    return numbers


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
