"""Polygons in COCO's format: reading, measuring and clipping."""

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mvit_det.data.coco.fields import FieldError, shorten, to_number
from mvit_det.errors import counted

Polygon = list[float]  # [x, y, x, y, ...] in pixels

MAX_OUTLINE = 1_000_000  # px; pycocotools takes about 80 bytes for each pixel of an outline
EXPECTED = "polygons [x, y, x, y, ...] in pixels"


def read_polygons(segmentation: list[Any], where: str) -> tuple[list[Polygon], list[str]]:
    """Return the polygons of a mask as flat lists, and the kinds of repairs that this took.

    Besides COCO's list of flat lists, it reads one flat list, points as pairs [x, y], and numbers in strings.
    It leaves out polygons of fewer than three points if there are others.

    Raises:
        FieldError: if the value is not a list of polygons.
    """
    repairs = []
    parts = segmentation
    if not any(isinstance(part, list) for part in parts) or _are_points(parts):
        parts = [parts]
        repairs.append("mask_form")
    polygons = []
    for number, part in enumerate(parts):
        field = f"{where}[{number}]"
        if not isinstance(part, list):
            raise FieldError(field, f"{shorten(part)} is not a polygon; expected {EXPECTED}", "bad_mask")
        if _are_points(part):
            part = [coordinate for point in part for coordinate in point]
            repairs.append("mask_form")
        numbers = [to_number(coordinate) for coordinate in part]
        polygon = [number for number in numbers if number is not None]
        if len(polygon) < len(numbers):
            raise FieldError(field, f"{shorten(part)} is not a polygon; expected {EXPECTED}", "bad_mask")
        if any(isinstance(coordinate, str) for coordinate in part):
            repairs.append("numbers")
        if len(polygon) % 2:
            raise FieldError(
                field,
                f"a list of {counted(len(polygon), 'number')} is not a polygon; expected x and y of points",
                "bad_mask",
            )
        polygons.append(polygon)
    whole = [polygon for polygon in polygons if len(polygon) >= 6]
    if not whole:
        raise FieldError(
            f"{where}[0]",
            f"a list of {counted(len(polygons[0]), 'number')} is not a polygon; expected "
            "x and y of at least 3 points",
            "bad_mask",
        )
    if len(whole) < len(polygons):
        repairs.append("mask_part")
    return whole, list(dict.fromkeys(repairs))


def _are_points(values: list[Any]) -> bool:
    """Whether the values are at least three pairs [x, y]."""
    return len(values) >= 3 and all(
        isinstance(value, list) and len(value) == 2 and not isinstance(value[0], list) for value in values
    )


class Measures:
    """Measures of the polygons of many objects, computed in large blocks.

    Args:
        num_objects: the number of objects.

    Attributes:
        bounds: (num_objects, 4) XYXY in pixels; NaN for an object without polygons.
        outline: (num_objects,) number of pixels on the outlines.
        area: (num_objects,) sum of the areas of the polygons.
    """

    BLOCK = 1 << 20  # coordinates

    def __init__(self, num_objects: int) -> None:
        self.bounds = np.full((num_objects, 4), np.nan)
        self.outline = np.zeros(num_objects)
        self.area = np.zeros(num_objects)
        self._coordinates = array("d")
        self._num_points: list[int] = []  # of each polygon
        self._objects: list[int] = []  # of each polygon

    def add(self, index: int, polygons: Sequence["array[float]"]) -> None:
        """Add the polygons of the object ``index``. Indices must ascend."""
        for polygon in polygons:
            self._coordinates.extend(polygon)
            self._num_points.append(len(polygon) // 2)
            self._objects.append(index)
        if len(self._coordinates) > self.BLOCK:
            self.flush()

    def flush(self) -> None:
        """Compute the measures of the polygons that have been added."""
        if not self._objects:
            return
        x, y = np.frombuffer(self._coordinates).reshape(-1, 2).T
        num_points = np.array(self._num_points)
        starts = np.concatenate([[0], np.cumsum(num_points)[:-1]])
        following = np.arange(1, len(x) + 1)
        following[starts + num_points - 1] = starts  # the last point of a polygon is joined to its first
        objects = np.array(self._objects)
        first = np.flatnonzero(np.diff(objects, prepend=-1))  # the first polygon of each object
        points = starts[first]
        index = objects[first]
        with np.errstate(invalid="ignore", over="ignore"):  # the caller finds what is not finite
            step_x, step_y = x[following] - x, y[following] - y
            lengths = np.maximum(abs(step_x), abs(step_y)) + 1
            areas = abs(np.add.reduceat(x * step_y - y * step_x, starts)) / 2
            self.bounds[index, 0] = np.minimum.reduceat(x, points)
            self.bounds[index, 1] = np.minimum.reduceat(y, points)
            self.bounds[index, 2] = np.maximum.reduceat(x, points)
            self.bounds[index, 3] = np.maximum.reduceat(y, points)
            self.outline[index] = np.add.reduceat(lengths, points)
            self.area[index] = np.add.reduceat(areas, first)
        del x, y
        self._coordinates = array("d")
        self._num_points, self._objects = [], []


def polygon_area(polygons: list[Polygon]) -> float:
    """Return the sum of the areas of polygons, in square pixels."""
    measures = Measures(1)
    measures.add(0, [array("d", polygon) for polygon in polygons])
    measures.flush()
    return float(measures.area[0])


def clip_polygons(polygons: list[Polygon], width: int, height: int) -> list[Polygon]:
    """Return the parts of polygons that lie inside an image.

    Source: Sutherland and Hodgman, "Reentrant polygon clipping", 1974.
    """
    clipped = []
    for polygon in polygons:
        points = np.array(polygon, np.float64).reshape(-1, 2)
        for axis, limit in ((0, width), (1, height)):
            points = _clip_at(points, axis, 0, 1)
            points = _clip_at(points, axis, limit, -1)
        if len(points) >= 3:
            clipped.append(points.ravel().tolist())
    return clipped


def _clip_at(points: NDArray[np.float64], axis: int, limit: float, sign: int) -> NDArray[np.float64]:
    """Return the part of the polygon ``points`` (N, 2) where ``sign * (coordinate - limit)`` is positive."""
    distances = sign * (points[:, axis] - limit)
    kept = []
    for point, distance, previous, previous_distance in zip(
        points, distances, np.roll(points, 1, 0), np.roll(distances, 1), strict=True
    ):
        if (distance >= 0) != (previous_distance >= 0):
            crossing = previous + (point - previous) * (previous_distance / (previous_distance - distance))
            crossing[axis] = limit
            kept.append(crossing)
        if distance >= 0:
            kept.append(point)
    return np.array(kept).reshape(-1, 2)
