"""Values of the fields of COCO-format files.

The checks raise a :class:`FieldError` that names the field and the expected value. Their argument ``where``
is the name of the field in that error, such as ``results[3].bbox``.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WHOLE_NUMBER = re.compile(r"[+-]?\d{1,18}(\.0*)?", re.ASCII)
_TYPE_NAMES = {int: "a whole number", str: "a string"}


class FieldError(Exception):
    """A field has a bad value. The caller adds the name of the file to the message.

    Attributes:
        field: the name of the field.
        message: what is wrong and what is expected.
        kind: key of :data:`mvit_det.data.problems.KINDS`.
    """

    def __init__(self, field: str, message: str, kind: str = "bad_entry") -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message
        self.kind = kind


def to_whole_number(value: Any) -> int | None:
    """Return a whole number that is given as an int, a float or a string, or None for anything else."""
    if type(value) is int:
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value.strip()):
        return int(value.strip().partition(".")[0])
    return None


def to_number(value: Any) -> float | None:
    """Return a number that is given as a number or a string, or None for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value if abs(value) < 1e300 else math.inf  # an int may be larger than any float
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return None


def check_objects(entries: list[Any], name: str) -> None:
    """Check that all entries of the list ``name`` are JSON objects."""
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise FieldError(f"{name}[{index}]", f"{shorten(entry)} is not an object")


def check_references(
    entry: Mapping[str, Any],
    where: str,
    images: Mapping[int, Any],
    categories: Mapping[int, Any],
) -> None:
    """Check that ``image_id`` and ``category_id`` of ``entry`` are ids of ``images`` and ``categories``."""
    for field, targets, name in (("image_id", images, "images"), ("category_id", categories, "categories")):
        if field not in entry:
            raise FieldError(f"{where}.{field}", f"is missing; expected {_TYPE_NAMES[int]}")
        if type(entry[field]) is not int:
            raise FieldError(f"{where}.{field}", f"{shorten(entry[field])} is not {_TYPE_NAMES[int]}")
        if entry[field] not in targets:
            raise FieldError(f"{where}.{field}", f"no entry of {name} has the id {entry[field]}")


def check_box(box: Any, where: str) -> None:
    """Check that ``box`` is [x, y, width, height] in pixels."""
    expected = "[x, y, width, height] in pixels"
    numbers = to_numbers(box, where, expected)
    if len(numbers) != 4 or numbers[2] < 0 or numbers[3] < 0:
        raise FieldError(where, f"{shorten(box)} is not {expected}")


def to_numbers(value: Any, where: str, expected: str) -> NDArray[Any]:
    """Return a flat list of finite numbers as an array.

    Raises:
        FieldError: if ``value`` is anything else; ``expected`` describes it in the message.
    """
    if value is None:
        raise FieldError(where, f"is missing; expected {expected}")
    try:
        numbers = np.asarray(value)
    except ValueError:  # lists of different lengths
        raise FieldError(where, f"{shorten(value)} is not {expected}") from None
    if numbers.ndim != 1 or numbers.dtype.kind not in "iuf":
        raise FieldError(where, f"{shorten(value)} is not {expected}")
    if not np.isfinite(numbers).all():
        bad = next(number for number in numbers.tolist() if not math.isfinite(number))
        raise FieldError(where, f"contains {bad}, which is not finite; expected {expected}")
    return numbers


def shorten(value: Any) -> str:
    """Return a value as JSON, shortened to 60 characters, for an error message."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
