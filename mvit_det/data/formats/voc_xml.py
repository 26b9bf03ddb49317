"""The XML files of Pascal VOC: the objects of one image."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from mvit_det.data.formats.interface import LabelError
from mvit_det.data.input_files import read_limited
from mvit_det.data.problems import Problem
from mvit_det.errors import InputError, printable

MAX_XML_BYTES = 2**26  # its objects take about ten times as much memory
CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True, slots=True)
class VocObject:
    """An object as it is written in the file.

    Attributes:
        field: the element, such as ``object 3``, for messages.
        name: name of the class.
        corners: xmin, ymin, xmax, ymax.
        polygons: for each polygon, x, y, x, y, ...; empty for an object with a box alone.
        difficult: whether it is marked as difficult to recognize.
    """

    field: str
    name: str
    corners: tuple[float, float, float, float]
    polygons: tuple[tuple[float, ...], ...]
    difficult: bool


@dataclass(frozen=True, slots=True)
class VocFile:
    """The contents of one file.

    Attributes:
        path: the file.
        file_name: the name of the image, or empty.
        size: width and height in pixels, or None if they are missing.
        objects: the objects that can be read; None if the file as a whole cannot be read.
        problems: what cannot be read.
    """

    path: Path
    file_name: str = ""
    size: tuple[int, int] | None = None
    objects: tuple[VocObject, ...] | None = None
    problems: tuple[Problem, ...] = ()


def read_voc_file(path: Path) -> VocFile:
    """Read an XML file. Files that declare entities, which may expand without bound, are refused."""
    try:
        root = fromstring(read_limited(path, "the annotations of an image", MAX_XML_BYTES))
    except FileNotFoundError:
        return _unreadable(path, "does not exist; expected the annotations of an image in its split")
    except InputError as error:
        return _unreadable(path, str(error).removeprefix(f"{path}: "))
    except DefusedXmlException as error:
        return _unreadable(path, f"declares entities or external files, which are refused: {error}")
    except (OSError, ParseError, ValueError, LookupError) as error:
        return _unreadable(path, f"is not XML: {error}")
    if root is None or root.tag != "annotation":
        return _unreadable(path, "is not an annotation of Pascal VOC; expected the root element <annotation>")
    objects, problems = [], []
    for number, element in enumerate(root.iterfind("object"), start=1):
        try:
            objects.append(_object(element, f"object {number}"))
        except LabelError as error:
            problems.append(Problem(error.kind, path, f"object {number}", str(error)))
    file_name = _text(root, "filename").replace("\\", "/").rpartition("/")[2]
    return VocFile(path, file_name, _size(root), tuple(objects), tuple(problems))


def _unreadable(path: Path, message: str) -> VocFile:
    return VocFile(path, problems=(Problem("bad_label", path, "", message),))


def _object(element: Element, field: str) -> VocObject:
    name = _text(element, "name")
    if not name:
        raise LabelError("bad_label", "has no name; expected the name of its class")
    polygons = tuple(_polygon(each) for each in element.iterfind("polygon") if len(each))
    box = element.find("bndbox")
    if box is not None:
        corners = [_number(_text(box, tag), f"bndbox.{tag}") for tag in CORNERS]
    elif polygons:
        xs = [x for polygon in polygons for x in polygon[::2]]
        ys = [y for polygon in polygons for y in polygon[1::2]]
        corners = [min(xs), min(ys), max(xs), max(ys)]
    elif element.find("robndbox") is not None:
        raise LabelError(
            "bad_label", "is a rotated box (robndbox), which is not supported; expected a bndbox or a polygon"
        )
    else:
        raise LabelError("bad_label", "has no bndbox; expected xmin, ymin, xmax and ymax")
    difficult = _text(element, "difficult").lower() in ("1", "true")
    return VocObject(field, name, tuple(corners), polygons, difficult)  # type: ignore[arg-type] # 4 values


def _polygon(element: Element) -> tuple[float, ...]:
    """Return the points of ``<x1>, <y1>, <x2>, <y2>, ...``, or of LabelMe's ``<pt><x>, <y></pt>, ...``."""
    coordinates = [child for each in element for child in (each if each.tag == "pt" else [each])]
    axes = {
        axis: [
            _number(child.text or "", f"polygon.{child.tag}")
            for child in coordinates
            if re.fullmatch(rf"{axis}\d*", child.tag)
        ]
        for axis in "xy"
    }
    if len(axes["x"]) != len(axes["y"]) or len(axes["x"]) < 3:
        raise LabelError("bad_mask", "polygon: expected x1, y1, x2, y2, ... of at least 3 points")
    return tuple(value for point in zip(axes["x"], axes["y"], strict=True) for value in point)


def _size(root: Element) -> tuple[int, int] | None:
    size = root.find("size")
    try:
        width, height = (
            (_number(_text(size, tag), tag) for tag in ("width", "height")) if size is not None else (0, 0)
        )
    except LabelError:
        return None
    return (int(width), int(height)) if width >= 1 and height >= 1 else None


def _text(element: Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()


def _number(text: str, field: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        problem = (
            f"{printable(text, 60)!r} is not a number" if text.strip() else "is missing; expected a number"
        )
        raise LabelError("bad_label", f"{field}: {problem}")
    return value
