"""Checks of boxes and masks against the edges of their images."""

import numpy as np
from numpy.typing import NDArray

from mvit_det.data.coco.annotations import Annotations, Array
from mvit_det.data.coco.frames import TOLERANCE
from mvit_det.data.coco.masks import outline_problem
from mvit_det.data.coco.polygons import MAX_OUTLINE, clip_polygons, polygon_area
from mvit_det.data.problems import ProblemCollector


def check_image_edges(
    annotations: Annotations, sizes: Array, collector: ProblemCollector, *, clip: bool
) -> Annotations:
    """Find boxes and polygons that have no area, or are outside their image or reach over its edge.

    Args:
        annotations: the annotations, each with a box.
        sizes: (N, 2) width and height of the image of each annotation, px.
        collector: receives the problems.
        clip: whether to clip what reaches over the edge, in place.

    Returns:
        The annotations that can be used.
    """
    usable = _check_boxes(annotations, sizes, collector)
    annotations, sizes = annotations.select(usable), sizes[usable]
    usable = _check_polygons(annotations, sizes, collector)
    annotations, sizes = annotations.select(usable), sizes[usable]

    over_edge = _reach_over_edge(_corners(annotations.boxes), sizes)
    for row in np.flatnonzero(over_edge).tolist():
        message = f"{_box(annotations, row)} reaches over the edge of {_image(sizes[row])}"
        annotations.report(collector, row, "box_over_edge", "bbox", message)
        if clip:
            _clip_box(annotations, row, sizes[row])

    usable = np.ones(len(sizes), bool)
    over_edge = _reach_over_edge(annotations.bounds, sizes)
    for row in np.flatnonzero(over_edge).tolist():
        message = f"the mask reaches over the edge of {_image(sizes[row])}"
        annotations.report(collector, row, "mask_over_edge", "segmentation", message)
        if clip:
            usable[row] = _clip_mask(annotations, row, sizes[row])
    return annotations.select(usable)


def _check_boxes(annotations: Annotations, sizes: Array, collector: ProblemCollector) -> NDArray[np.bool_]:
    """Return (N,) whether each box has an area inside its image."""
    empty = (annotations.boxes[:, 2:] <= 0).any(1)
    for row in np.flatnonzero(empty).tolist():
        message = f"{_box(annotations, row)} has no area; expected a positive width and height"
        annotations.report(collector, row, "empty_box", "bbox", message)

    outside = ~empty & _are_outside(_corners(annotations.boxes), sizes)
    for row in np.flatnonzero(outside).tolist():
        message = f"{_box(annotations, row)} is outside {_image(sizes[row])}"
        annotations.report(collector, row, "box_outside", "bbox", message)
    return ~(empty | outside)


def _check_polygons(annotations: Annotations, sizes: Array, collector: ProblemCollector) -> NDArray[np.bool_]:
    """Return (N,) whether each annotation has no polygons, or polygons that can be drawn on its image."""
    side = sizes.max(1, keepdims=True)
    undrawable = ((annotations.bounds < -side) | (annotations.bounds > 2 * side)).any(1)
    undrawable |= ~(annotations.outline <= MAX_OUTLINE)  # also where it is NaN
    for row in np.flatnonzero(undrawable).tolist():
        width, height = sizes[row].astype(int).tolist()
        bounds, outline = annotations.bounds[row].tolist(), annotations.outline[row]
        problem = outline_problem(bounds, outline, width, height)
        assert problem is not None, f"polygons with the bounds {bounds} and an outline of {outline} px"
        kind, message = problem
        annotations.report(collector, row, kind, "segmentation", message)

    outside = ~undrawable & _are_outside(annotations.bounds, sizes)
    for row in np.flatnonzero(outside).tolist():
        message = f"the polygons are outside {_image(sizes[row])}"
        annotations.report(collector, row, "mask_outside", "segmentation", message)
    return ~(undrawable | outside)


def _clip_box(annotations: Annotations, row: int, size: Array) -> None:
    box = annotations.boxes[row]
    low, high = np.clip(box[:2], 0, size), np.clip(box[:2] + box[2:], 0, size)
    box[:] = np.concatenate([low, high - low])
    entry = annotations.entries[row]
    entry["bbox"] = box.tolist()
    if "segmentation" not in entry:
        entry["area"] = float((high - low).prod())


def _clip_mask(annotations: Annotations, row: int, size: Array) -> bool:
    """Clip the polygons of an annotation. Return whether anything is left."""
    entry = annotations.entries[row]
    width, height = size.astype(int).tolist()
    entry["segmentation"] = clip_polygons(entry["segmentation"], width, height)
    if not entry["segmentation"]:
        return False
    entry["area"] = annotations.polygon_area[row] = polygon_area(entry["segmentation"])
    np.clip(annotations.bounds[row], 0, np.tile(size, 2), out=annotations.bounds[row])
    return True


def _corners(boxes: Array) -> Array:
    """Return (N, 4) XYXY of XYWH boxes."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def _are_outside(corners: Array, sizes: Array) -> NDArray[np.bool_]:
    """Return (N,) whether XYXY boxes are wholly outside their images; false for NaN."""
    return np.any((corners[:, :2] >= sizes) | (corners[:, 2:] <= 0), axis=1)


def _reach_over_edge(corners: Array, sizes: Array) -> NDArray[np.bool_]:
    """Return (N,) whether XYXY boxes reach over the edges of their images; false for NaN."""
    return np.any((corners[:, :2] < -TOLERANCE) | (corners[:, 2:] > sizes + TOLERANCE), axis=1)


def _box(annotations: Annotations, row: int) -> str:
    return f"[{', '.join(f'{value:.6g}' for value in annotations.boxes[row])}]"


def _image(size: Array) -> str:
    return f"its image of {size[0]:.0f} x {size[1]:.0f} px"
