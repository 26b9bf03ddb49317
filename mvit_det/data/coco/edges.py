"""Checks of boxes and masks against the edges of their images."""

from typing import Any

import numpy as np

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
        sizes: (N, 2) width and height of the image of each object, px.
        collector: receives the problems.
        clip: whether to clip what reaches over the edge.

    Returns:
        The objects that can be used.
    """
    usable = np.ones(len(annotations.entries), bool)

    def drop(bad: Any, kind: str, field: str, message: Any) -> None:
        for row in np.flatnonzero(bad & usable).tolist():
            annotations.report(collector, row, kind, field, message(row))
        usable[bad] = False

    def image(row: int) -> str:
        return f"its image of {sizes[row, 0]:.0f} x {sizes[row, 1]:.0f} px"

    def box(row: int) -> str:
        return f"[{', '.join(f'{value:.6g}' for value in annotations.boxes[row])}]"

    low, extent = annotations.boxes[:, :2], annotations.boxes[:, 2:]
    high = low + extent
    empty = (extent <= 0).any(1)
    drop(
        empty,
        "empty_box",
        "bbox",
        lambda row: f"{box(row)} has no area; expected a positive width and height",
    )
    outside = ((low >= sizes) | (high <= 0)).any(1)
    drop(outside, "box_outside", "bbox", lambda row: f"{box(row)} is outside {image(row)}")
    with np.errstate(invalid="ignore"):  # objects without polygons have NaN
        bounds = annotations.bounds
        side = sizes.max(1)
        far = (bounds.min(1) < -side) | (bounds.max(1) > 2 * side) | (annotations.outline > MAX_OUTLINE)
        far |= ~np.isfinite(annotations.outline)
        away = ((bounds[:, :2] >= sizes) | (bounds[:, 2:] <= 0)).any(1)
        mask_over = ((bounds[:, :2] < -TOLERANCE) | (bounds[:, 2:] > sizes + TOLERANCE)).any(1)
    for row in np.flatnonzero(far & usable).tolist():
        width, height = sizes[row].astype(int).tolist()
        problem = outline_problem(bounds[row].tolist(), annotations.outline[row], width, height)
        assert problem is not None
        kind, message = problem
        annotations.report(collector, row, kind, "segmentation", message)
    usable &= ~far
    drop(away, "mask_outside", "segmentation", lambda row: f"the polygons are outside {image(row)}")
    box_over = ((low < -TOLERANCE) | (high > sizes + TOLERANCE)).any(1)
    for over, kind, field in (
        (box_over, "box_over_edge", "bbox"),
        (mask_over, "mask_over_edge", "segmentation"),
    ):
        for row in np.flatnonzero(over & usable).tolist():
            what = box(row) if field == "bbox" else "the mask"
            annotations.report(collector, row, kind, field, f"{what} reaches over the edge of {image(row)}")
            if clip and not _clip(annotations, row, field, sizes[row]):
                usable[row] = False
    return annotations.select(usable)


def _clip(annotations: Annotations, row: int, field: str, size: Array) -> bool:
    """Clip the box or the mask of an object, in place. Return whether anything is left."""
    entry = annotations.entries[row]
    if field == "bbox":
        low, high = annotations.boxes[row, :2], annotations.boxes[row, :2] + annotations.boxes[row, 2:]
        low, high = np.clip(low, 0, size), np.clip(high, 0, size)
        annotations.boxes[row] = np.concatenate([low, high - low])
        entry["bbox"] = annotations.boxes[row].tolist()
        if "segmentation" not in entry:
            entry["area"] = float((high - low).prod())
        return True
    width, height = size.astype(int).tolist()
    entry["segmentation"] = clip_polygons(entry["segmentation"], width, height)
    if not entry["segmentation"]:
        return False
    entry["area"] = annotations.polygon_area[row] = polygon_area(entry["segmentation"])
    np.clip(annotations.bounds[row], 0, np.tile(size, 2), out=annotations.bounds[row])
    return True
