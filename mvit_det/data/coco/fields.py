"""Values of the fields of COCO-format files."""

import json
import math
import re
from typing import Any

_WHOLE_NUMBER = re.compile(r"[+-]?\d{1,18}(\.0*)?", re.ASCII)


class FieldError(Exception):
    """A field has a bad value. The caller adds the name of the file to the message.

    Attributes:
        field: the name of the field.
        message: what is wrong and what is expected.
        kind: key of :data:`mvit_det.data.problem_kinds.KINDS`.
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


def shorten(value: Any) -> str:
    """Return a value as JSON, shortened to 60 characters, for an error message."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
