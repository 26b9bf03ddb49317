"""Checks of the fields of a COCO-format file.

The checks raise a :class:`FieldError` that names the field and the expected value. Their argument ``where``
is the name of the field in that error, such as ``annotations[3].bbox``.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TYPE_NAMES = {int: "a whole number", str: "a string"}


class FieldError(Exception):
    """A field has a bad value. The caller adds the name of the file to the message."""


def check_objects(entries: list[Any], name: str) -> None:
    """Check that all entries of the list ``name`` are JSON objects."""
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise FieldError(f"{name}[{index}]: {shorten(entry)} is not an object")


def require(entry: Mapping[str, Any], where: str, **fields: type) -> None:
    """Check that ``entry`` has these fields, each with a value of its type."""
    for field, kind in fields.items():
        if field not in entry:
            raise FieldError(f"{where}.{field}: is missing; expected {_TYPE_NAMES[kind]}")
        if not isinstance(entry[field], kind) or isinstance(entry[field], bool):
            raise FieldError(f"{where}.{field}: {shorten(entry[field])} is not {_TYPE_NAMES[kind]}")


def check_references(
    entry: Mapping[str, Any],
    where: str,
    images: Mapping[int, Any],
    categories: Mapping[int, Any],
) -> None:
    """Check that ``image_id`` and ``category_id`` of ``entry`` are ids of ``images`` and ``categories``."""
    require(entry, where, image_id=int, category_id=int)
    for field, targets, name in (("image_id", images, "images"), ("category_id", categories, "categories")):
        if entry[field] not in targets:
            raise FieldError(f"{where}.{field}: no entry of {name} has the id {entry[field]}")


def check_box(box: Any, where: str) -> None:
    """Check that ``box`` is [x, y, width, height] in pixels."""
    expected = "[x, y, width, height] in pixels"
    numbers = to_numbers(box, where, expected)
    if len(numbers) != 4 or numbers[2] < 0 or numbers[3] < 0:
        raise FieldError(f"{where}: {shorten(box)} is not {expected}")


def check_segmentation(segmentation: Any, where: str, image: Mapping[str, Any]) -> None:
    """Check the polygons or the RLE of an object in ``image``, an entry of ``images``."""
    if isinstance(segmentation, dict):
        _check_rle(segmentation, where, image)
    elif isinstance(segmentation, list) and segmentation:
        side = max(image["width"], image["height"])
        for index, polygon in enumerate(segmentation):
            field = f"{where}[{index}]"
            points = to_numbers(polygon, field, "a polygon [x, y, x, y, ...] in pixels")
            if len(points) < 6 or len(points) % 2:
                raise FieldError(
                    f"{field}: {len(points)} numbers are not a polygon; expected x and y of at least 3 points"
                )
            # pycocotools visits every pixel on the outline, including those far outside the image.
            if points.min() < -side or points.max() > 2 * side:
                raise FieldError(
                    f"{field}: the polygon spans {points.min():g} to {points.max():g}, far "
                    f"outside its image of {image['width']} x {image['height']} px"
                )
    else:
        problem = "is missing" if not segmentation else f"{shorten(segmentation)} is not a mask"
        raise FieldError(f"{where}: {problem}; expected polygons or RLE")


def _check_rle(rle: Mapping[str, Any], where: str, image: Mapping[str, Any]) -> None:
    size = [image["height"], image["width"]]
    if rle.get("size") != size:
        raise FieldError(
            f"{where}.size: {shorten(rle.get('size'))} is not the [height, width] of its image, {size}"
        )
    counts = rle.get("counts")
    if isinstance(counts, str):
        runs: Sequence[int] = decode_counts(counts, f"{where}.counts")
    elif isinstance(counts, list) and all(type(run) is int for run in counts):
        runs = counts
    else:
        raise FieldError(f"{where}.counts: {shorten(counts)} is neither a string nor a list of runs")
    if min(runs, default=0) < 0 or sum(runs) != size[0] * size[1]:
        raise FieldError(
            f"{where}.counts: the runs cover {sum(runs)} pixels; the image has {size[0] * size[1]}"
        )


def decode_counts(text: str, where: str) -> list[int]:
    """Return the run lengths of COCO's compressed RLE.

    pycocotools decodes a malformed string to arbitrary runs without an error, so it is checked here first.

    Each character encodes six bits: its code minus that of "0". The lower five bits are a part of a number,
    with the least significant part first, and the sixth bit is set if another part follows. The fifth bit of
    the last part is the sign. The first three numbers are run lengths; each later number is the difference
    between its run and the run two places before.

    Raises:
        FieldError: if a character is not part of the encoding, or the last run is incomplete.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise FieldError(f"{where}: {character!r} is not a character of compressed RLE")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise FieldError(f"{where}: the last run is incomplete")
    return runs


def to_numbers(value: Any, where: str, expected: str) -> NDArray[Any]:
    """Return a flat list of finite numbers as an array.

    Raises:
        FieldError: if ``value`` is anything else; ``expected`` describes it in the message.
    """
    if value is None:
        raise FieldError(f"{where}: is missing; expected {expected}")
    try:
        numbers = np.asarray(value)
    except ValueError:  # lists of different lengths
        raise FieldError(f"{where}: {shorten(value)} is not {expected}") from None
    if numbers.ndim != 1 or numbers.dtype.kind not in "iuf":
        raise FieldError(f"{where}: {shorten(value)} is not {expected}")
    if not np.isfinite(numbers).all():
        bad = next(number for number in numbers.tolist() if not math.isfinite(number))
        raise FieldError(f"{where}: contains {bad}, which is not finite; expected {expected}")
    return numbers


def shorten(value: Any) -> str:
    """Return a value as JSON, shortened to 60 characters, for an error message."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
