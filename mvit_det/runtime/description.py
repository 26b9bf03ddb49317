"""The description of an exported detector: the file ``detector.json`` beside the model."""

import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Real
from pathlib import Path
from typing import Any

from mvit_det.data.json_files import read_json, write_json
from mvit_det.errors import InputError

FILE_NAME = "detector.json"
FORMAT_VERSION = 1
FORMATS = ("onnx", "openvino", "torch", "aoti")
PRECISIONS = ("float32", "float16", "int8")
UPDATE = "pip install --upgrade 'mvit_det[runtime]'"


@dataclass(frozen=True)
class Description:
    """What a client must know of an exported detector. The fields are the keys of ``detector.json``.

    Attributes:
        format: one of :data:`FORMATS`.
        precision: one of :data:`PRECISIONS`.
        model: name of the model's file in the folder.
        classes: ``id`` and ``name`` of each category, in the order of the model's labels.
        variant: name of the backbone.
        head: name of the head.
        has_masks: whether the model returns masks.
        short_side: length to which the short side of an image is scaled, px.
        long_side: limit on the long side, px.
        size_multiple: images are padded to multiples of this, px.
        max_side: the longest side that the model takes, px.
        pixel_mean: mean of R, G and B, on a scale of 0..255. The model subtracts it itself.
        pixel_std: standard deviation of R, G and B, likewise.
        min_score: the detections of the model have scores above this.
        iou_threshold: IoU above which the model's non-maximum suppression removes a box.
        max_detections: the largest number of detections in an image.
        mask_threshold: a pixel belongs to an object if its probability is at least this.
        checkpoint: ``file`` and ``sha256`` of the checkpoint.
        versions: name of a package -> version with which the model was exported.

    Raises:
        InputError: if a value is not valid.
    """

    format: str
    precision: str
    model: str
    classes: Sequence[Mapping[str, Any]]
    variant: str
    head: str
    has_masks: bool
    short_side: int
    long_side: int
    size_multiple: int
    max_side: int
    pixel_mean: Sequence[float]
    pixel_std: Sequence[float]
    min_score: float
    iou_threshold: float
    max_detections: int
    mask_threshold: float
    checkpoint: Mapping[str, Any]
    versions: Mapping[str, Any]

    def __post_init__(self) -> None:
        for key, (is_valid, expected) in _CHECKS.items():
            value = getattr(self, key)
            if not is_valid(value):
                raise InputError(f"{key} {reprlib.repr(value)}: must be {expected}")

    @property
    def categories(self) -> dict[int, str]:
        """Category id -> name, in the order of the model's labels."""
        return {category["id"]: category["name"] for category in self.classes}


def is_number(value: Any) -> bool:
    """Return whether a value is a real number; bools are not."""
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_int64(value: Any) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def _are_classes(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(isinstance(item, dict) for item in value)
        and all(_is_int64(item.get("id")) and isinstance(item.get("name"), str) for item in value)
        and len({item["id"] for item in value}) == len(value)
    )


Check = tuple[Callable[[Any], bool], str]
_TEXT: Check = (lambda value: isinstance(value, str), "a string")
_LENGTH: Check = (lambda value: _is_int64(value) and value > 0, "a positive 64-bit integer")
_FRACTION: Check = (lambda value: is_number(value) and 0 <= value <= 1, "a number from 0 to 1")
_COLOR: Check = (
    lambda value: isinstance(value, list | tuple) and len(value) == 3 and all(map(is_number, value)),
    "three numbers",
)
_OBJECT: Check = (lambda value: isinstance(value, dict), "an object")
_CHECKS: dict[str, Check] = {
    "format": (FORMATS.__contains__, f"one of {', '.join(FORMATS)}"),
    "precision": (PRECISIONS.__contains__, f"one of {', '.join(PRECISIONS)}"),
    "model": (lambda value: isinstance(value, str) and value == Path(value).name != "", "the name of a file"),
    "classes": (_are_classes, "a list of objects, each with a name and a unique id"),
    "variant": _TEXT,
    "head": _TEXT,
    "has_masks": (lambda value: isinstance(value, bool), "true or false"),
    "short_side": _LENGTH,
    "long_side": _LENGTH,
    "size_multiple": _LENGTH,
    "max_side": _LENGTH,
    "pixel_mean": _COLOR,
    "pixel_std": _COLOR,
    "min_score": _FRACTION,
    "iou_threshold": _FRACTION,
    "max_detections": _LENGTH,
    "mask_threshold": _FRACTION,
    "checkpoint": _OBJECT,
    "versions": _OBJECT,
}


def read_description(folder: Path) -> Description:
    """Read the description in the folder of an export. Unknown keys are ignored.

    Raises:
        InputError: if the folder or the file is missing, damaged, or of a newer format.
    """
    path = folder / FILE_NAME
    if not path.exists():
        raise InputError(f"{path}: no such file; expected the folder that mvit-det export wrote")
    data: dict[str, Any] = read_json(path, dict, "a JSON object")
    version = data.get("format_version")
    if type(version) is int and version > FORMAT_VERSION:
        raise InputError(f"{path}: was written by a newer mvit_det; update it: {UPDATE}")
    if version != FORMAT_VERSION:
        raise InputError(f"{path}: format_version {reprlib.repr(version)}: must be {FORMAT_VERSION}")
    keys = [field.name for field in fields(Description)]
    if missing := [key for key in keys if key not in data]:
        raise InputError(f"{path}: {', '.join(missing)}: missing; export the detector again")
    try:
        return Description(**{key: data[key] for key in keys})
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def write_description(folder: Path, description: Description) -> None:
    """Write a description into the folder of an export.

    Raises:
        RunError: if the disk is full or cannot be written to.
    """
    write_json(folder / FILE_NAME, {"format_version": FORMAT_VERSION, **vars(description)})
