"""The label files of YOLO: one object a line, in fractions of the image's width and height."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mvit_det.data.formats.interface import LabelError
from mvit_det.data.problems import Problem
from mvit_det.errors import counted, printable

TOLERANCE = 1e-3  # coordinates may leave 0 to 1 by this much, from rounding
EXPECTED = "class, center x, center y, width, height, or class and the x and y of at least 3 points"


def read_labels(
    path: Path, names: Mapping[int, str], size: tuple[int, int]
) -> tuple[list[dict[str, Any]] | None, list[Problem]]:
    """Read the label file of one image.

    Args:
        path: the file. Empty lines, a byte-order mark and any line ends are accepted.
        names: class number -> name.
        size: width and height of the image in pixels.

    Returns:
        The objects: ``category_id``, ``bbox``, ``segmentation`` for a polygon, and ``_source``, which names
        the line; None if the file is not text. Then the problems, such as lines that are left out.
    """
    if not path.is_file():
        return None, [Problem("bad_label", path, "", "is not a file; expected the labels of an image")]
    try:
        lines = read_fields(path)
    except (OSError, UnicodeDecodeError) as error:
        return None, [Problem("bad_label", path, "", f"is not a text file of labels: {error}")]
    objects, problems = [], []
    for number, fields in lines:
        try:
            objects.append(parse_label(fields, names, size) | {"_source": f"{path}: line {number}"})
        except LabelError as error:
            problems.append(Problem(error.kind, path, f"line {number}", str(error)))
    return objects, problems


def read_fields(path: Path) -> list[tuple[int, list[str]]]:
    """Return the number and the fields of each line of a label file that is not empty.

    Raises:
        OSError: if the file cannot be read.
        UnicodeDecodeError: if it is not text.
    """
    lines = path.read_bytes().decode("utf-8-sig").splitlines()
    return [(number, fields) for number, line in enumerate(lines, start=1) if (fields := line.split())]


def parse_label(fields: list[str], names: Mapping[int, str], size: tuple[int, int]) -> dict[str, Any]:
    """Convert the fields of one line to a category, a box in pixels and, for a polygon, a mask.

    Raises:
        LabelError: if the line cannot be used.
    """
    count = len(fields)
    if count < 5 or count % 2 == 0:
        hint = " (a box and its confidence?)" if count == 6 else ""
        raise LabelError("bad_label", f"has {counted(count, 'value')}{hint}; expected {EXPECTED}")
    number, *coordinates = map(_to_float, fields)
    if number != int(number):
        raise LabelError("bad_label", f"the class {printable(fields[0], 60)} is not a whole number")
    if int(number) not in names:
        known = f"{min(names)} to {max(names)}" if len(names) > 1 else f"{min(names)}"
        raise LabelError(
            "unknown_category", f"there is no class {printable(fields[0], 30)}; expected {known}"
        )
    for text, value in zip(fields[1:], coordinates, strict=True):
        if not -TOLERANCE <= value <= 1 + TOLERANCE:
            raise LabelError(
                "bad_label",
                f"{printable(text, 30)} is outside 0 to 1; expected fractions of the image's size",
            )
    label: dict[str, Any] = {"category_id": int(number)}
    width, height = size
    if count == 5:
        x, y, w, h = coordinates
        if w <= 0 or h <= 0:
            raise LabelError("empty_box", f"the box has a width of {fields[3]} and a height of {fields[4]}")
        label["bbox"] = [(x - w / 2) * width, (y - h / 2) * height, w * width, h * height]
        return label
    inside = [min(max(value, 0.0), 1.0) for value in coordinates]
    xs, ys = [x * width for x in inside[::2]], [y * height for y in inside[1::2]]
    if min(xs) == max(xs) or min(ys) == max(ys):
        raise LabelError("empty_box", "all points of the polygon lie on one line")
    label["bbox"] = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
    label["segmentation"] = [[value for point in zip(xs, ys, strict=True) for value in point]]
    return label


def _to_float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise LabelError("bad_label", f"{printable(text, 60)!r} is not a number")
    return value
