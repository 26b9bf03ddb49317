"""Recognizing boxes that are not [x, y, width, height] in pixels throughout a data set."""

import numpy as np
from numpy.typing import NDArray

from mvit_det.data.coco.annotations import Annotations, Array
from mvit_det.data.problems import ProblemCollector
from mvit_det.errors import InputError

EXPECTED = "expected [x, y, width, height] in pixels"
FAR = 1.1  # times the side of the image; boxes that reach farther are not only inexact at the edge


def check_box_format(annotations: Annotations, sizes: Array, collector: ProblemCollector) -> None:
    """Check that the boxes are neither fractions of the image nor [x1, y1, x2, y2].

    A warning is added for each box that looks like [x1, y1, x2, y2] where only a part of the boxes does.

    Args:
        annotations: the annotations.
        sizes: (N, 2) width and height of the image of each annotation, px.
        collector: names the data set in the error, and receives the warnings.

    Raises:
        InputError: if all boxes are of the other convention.
    """
    present = np.isfinite(annotations.boxes).all(1)
    if not present.any():
        return
    boxes, sizes, bounds = annotations.boxes[present], sizes[present], annotations.bounds[present]
    where = f"{collector.source}: annotations[{annotations.index[present][0]}].bbox"
    example = [round(value, 4) for value in boxes[0].tolist()]
    has_area = boxes[:, 2:].max() > 0
    if has_area and boxes.max() <= 1.001 and boxes.min() >= -0.001 and sizes.min() > 2:
        raise InputError(
            f"{where}: {example} and all other boxes are fractions of the image; {EXPECTED}: multiply x and "
            "width by the width of the image, y and height by its height"
        )
    has_polygons = np.isfinite(bounds).all(1)
    if has_polygons.any() and bounds[has_polygons].max() <= 1.001 and boxes[has_polygons, 2:].max() > 2:
        index = annotations.index[present][has_polygons][0]
        raise InputError(
            f"{collector.source}: annotations[{index}].segmentation: this and all other polygons are "
            "fractions of the image; expected [x, y, x, y, ...] in pixels"
        )
    if _are_corners(boxes, sizes) or _corners_match(boxes, bounds):
        raise InputError(
            f"{where}: {example} and all other boxes look like [x1, y1, x2, y2]: as such they fit their "
            f"images, as [x, y, width, height] they do not; {EXPECTED}: subtract x1 from x2 and y1 from y2"
        )
    is_corner = _far_corners(boxes, sizes)
    for row in np.flatnonzero(present)[is_corner].tolist():
        box = ", ".join(f"{value:g}" for value in annotations.boxes[row].tolist())
        message = (
            f"[{box}] reaches far over the edge of its image, and fits it as [x1, y1, x2, y2]; {EXPECTED}"
        )
        annotations.report(collector, row, "corner_box", "bbox", message)


def _are_corners(boxes: Array, sizes: Array) -> bool:
    """Whether all boxes are valid as XYXY, while as XYWH many are largely outside their images."""
    low, high = boxes[:, :2], boxes[:, 2:]
    if not ((low >= -1) & (high > low) & (high <= sizes + 1)).all():
        return False
    ends = low + high
    is_outside = (ends > sizes + 1).any(1)
    inside = np.clip(np.minimum(ends, sizes) - low, 0, None).prod(1).sum()
    return is_outside.mean() > 1 / 3 and inside < 0.7 * high.prod(1).sum()


def _far_corners(boxes: Array, sizes: Array) -> NDArray[np.bool_]:
    """Return (N,) whether a box reaches far over the edge as XYWH and fits its image as XYXY.

    The result is false for all boxes unless this holds for most of those that reach far over the edge.
    """
    low, high = boxes[:, :2], boxes[:, 2:]
    is_far = np.any(low + high > FAR * sizes, axis=1)
    fits: NDArray[np.bool_] = is_far & ((low >= -1) & (high > low) & (high <= sizes + 1)).all(1)
    return fits & (fits.sum() > is_far.sum() / 2)


def _corners_match(boxes: Array, bounds: Array) -> bool:
    """Whether the boxes match the polygons as XYXY, and not as XYWH."""
    has_polygons = np.isfinite(bounds).all(1)
    if not has_polygons.any():
        return False
    boxes, bounds = boxes[has_polygons], bounds[has_polygons]
    as_corners = (abs(boxes - bounds) <= 2).all(1).mean()
    ends = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    return bool(as_corners > 0.9 and (abs(ends - bounds) <= 2).all(1).mean() < 0.5)
