"""Checks of the fields of a COCO-format file: each names the field and says what would be right."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mvit_det.errors import InputError


class FieldError(Exception):
    """What is wrong with which field; who reads the file adds its name."""


def read_json(path: Path, kind: type, expected: str) -> Any:
    """Return the contents of a JSON file, which must be of one kind, described as ``expected``."""
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
    if not isinstance(data, kind):
        raise InputError(f"{path}: holds a {type(data).__name__}; expected {expected}")
    return data


def check_objects(entries: list[Any], name: str) -> None:
    """Check that all entries of a list are objects."""
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise FieldError(f"{name}[{number}]: {short(entry)} is not an object")


def require(entry: Mapping[str, Any], where: str, **fields: type) -> None:
    """Check that fields are there and of a type."""
    for field, kind in fields.items():
        if field not in entry:
            raise FieldError(f"{where}.{field}: is missing; expected {_NAMES[kind]}")
        if not isinstance(entry[field], kind) or isinstance(entry[field], bool):
            raise FieldError(f"{where}.{field}: {short(entry[field])} is not {_NAMES[kind]}")


_NAMES = {int: "a whole number", str: "a text"}


def check_references(
    entry: Mapping[str, Any],
    where: str,
    images: Mapping[int, Any],
    categories: Mapping[int, Any],
) -> None:
    """Check that the picture and the category of an entry are there, by their ids."""
    require(entry, where, image_id=int, category_id=int)
    for field, known, of in (
        ("image_id", images, "images"),
        ("category_id", categories, "categories"),
    ):
        if entry[field] not in known:
            raise FieldError(f"{where}.{field}: no entry of {of} has the id {entry[field]}")


def check_box(box: Any, where: str) -> None:
    """Check one ``bbox``."""
    expected = "[x, y, width, height] in pixels"
    numbers = to_numbers(box, where, expected)
    if len(numbers) != 4 or numbers[2] < 0 or numbers[3] < 0:
        raise FieldError(f"{where}: {short(box)} is not {expected}")


def check_segmentation(segmentation: Any, where: str, image: Mapping[str, Any]) -> None:
    """Check the polygons or the run-lengths of an entry of ``image``."""
    if isinstance(segmentation, dict):
        _check_rle(segmentation, where, image)
    elif isinstance(segmentation, list) and segmentation:
        side = max(image["width"], image["height"])
        for number, polygon in enumerate(segmentation):
            field = f"{where}[{number}]"
            points = to_numbers(polygon, field, "a polygon [x, y, x, y, ...] in pixels")
            if len(points) < 6 or len(points) % 2:
                raise FieldError(
                    f"{field}: {len(points)} numbers are not a polygon; expected x and y of at "
                    "least three points"
                )
            if points.min() < -side or points.max() > 2 * side:  # pycocotools walks every pixel
                raise FieldError(
                    f"{field}: the polygon reaches from {points.min():g} to {points.max():g}, far "
                    f"outside its picture of {image['width']} x {image['height']} px"
                )
    else:
        found = "is missing" if not segmentation else f"{short(segmentation)} is not a mask"
        raise FieldError(f"{where}: {found}; a mask head trains on polygons or RLE")


def _check_rle(rle: Mapping[str, Any], where: str, image: Mapping[str, Any]) -> None:
    size = [image["height"], image["width"]]
    if rle.get("size") != size:
        raise FieldError(f"{where}.size: {short(rle.get('size'))} is not its picture's {size}")
    counts = rle.get("counts")
    if isinstance(counts, str):
        runs: Sequence[int] = decode_counts(counts, f"{where}.counts")
    elif isinstance(counts, list) and all(type(run) is int for run in counts):
        runs = counts
    else:
        raise FieldError(f"{where}.counts: {short(counts)} is neither a text nor a list of runs")
    if min(runs, default=0) < 0 or sum(runs) != size[0] * size[1]:
        raise FieldError(
            f"{where}.counts: the runs cover {sum(runs)} pixels of the picture's {size[0] * size[1]}"
        )


def decode_counts(text: str, where: str) -> list[int]:
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
            raise FieldError(f"{where}: {character!r} stands in no compressed RLE")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise FieldError(f"{where}: the last run is not complete")
    return runs


def to_numbers(value: Any, where: str, expected: str) -> NDArray[Any]:
    """Return a flat list of finite numbers as an array; ``expected`` describes it in an error."""
    if value is None:
        raise FieldError(f"{where}: is missing; expected {expected}")
    try:
        numbers = np.asarray(value)
    except ValueError:  # lists of different lengths
        raise FieldError(f"{where}: {short(value)} is not {expected}") from None
    if numbers.ndim != 1 or numbers.dtype.kind not in "iuf":
        raise FieldError(f"{where}: {short(value)} is not {expected}")
    if not np.isfinite(numbers).all():
        bad = next(v for v in numbers.tolist() if not math.isfinite(v))
        raise FieldError(f"{where}: holds {bad}, which is not finite; expected {expected}")
    return numbers


def short(value: Any) -> str:
    """Return a value as JSON, cut to what fits in an error."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
