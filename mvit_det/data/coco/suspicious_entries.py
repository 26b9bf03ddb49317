"""Warnings of objects that can be used, but are suspicious."""

from typing import Any

import numpy as np

from mvit_det.data.coco.annotations import Objects
from mvit_det.data.problems import ProblemCollector

MIN_OVERLAP = 0.5  # IoU of a box with the bounds of its mask, below which the two are said not to match


def find_suspicious_entries(
    objects: Objects, categories: list[dict[str, Any]], collector: ProblemCollector, split: str = ""
) -> None:
    """Find objects and categories that can be used, but may be mistakes.

    These are tiny boxes, polygons without area, masks beside their boxes, identical annotations, and
    categories without objects. The messages about categories name ``split``, unless it is empty.
    """
    for row in np.flatnonzero((objects.boxes[:, 2:] < 1).any(1)).tolist():
        width, height = objects.boxes[row, 2:].tolist()
        objects.report(collector, row, "tiny_box", "bbox", f"the box is {width:g} x {height:g} px")
    has_polygons = np.isfinite(objects.bounds).all(1)
    for row in np.flatnonzero(has_polygons & (objects.polygon_area <= 0)).tolist():
        objects.report(collector, row, "flat_mask", "segmentation", "the polygons have no area")
    low = np.maximum(objects.boxes[:, :2], objects.bounds[:, :2])
    high = np.minimum(objects.boxes[:, :2] + objects.boxes[:, 2:], objects.bounds[:, 2:])
    shared = np.clip(high - low, 0, None).prod(1)
    union = objects.boxes[:, 2:].prod(1) + (objects.bounds[:, 2:] - objects.bounds[:, :2]).prod(1) - shared
    for row in np.flatnonzero(has_polygons & (shared < MIN_OVERLAP * union)).tolist():
        entry = objects.entries[row]
        if not entry["iscrowd"]:
            x1, y1, x2, y2 = objects.bounds[row].tolist()
            bounds = f"[{x1:.6g}, {y1:.6g}, {x2 - x1:.6g}, {y2 - y1:.6g}]"
            message = f"the mask covers {bounds}, and the box is {entry['bbox']}"
            objects.report(collector, row, "mask_beside_box", "segmentation", message)
    _warn_of_repetitions(objects, collector)
    _warn_of_unused_categories(objects, categories, collector, split)


def _warn_of_repetitions(objects: Objects, collector: ProblemCollector) -> None:
    categories = np.array([entry["category_id"] for entry in objects.entries], np.float64)
    rows = np.column_stack([objects.image_ids, categories, objects.boxes])
    order = np.lexsort(rows.T[::-1])
    same = (rows[order][1:] == rows[order][:-1]).all(1)
    for position in np.flatnonzero(same).tolist():
        first, second = sorted(order[position : position + 2].tolist())
        entry, other = objects.entries[second], objects.entries[first]
        if entry.get("segmentation") == other.get("segmentation") and entry["iscrowd"] == other["iscrowd"]:
            place = other.get("_source") or f"annotations[{objects.index[first]}]"
            message = f"is identical to {place}"
            objects.report(collector, second, "repeated_annotation", "", message)


def _warn_of_unused_categories(
    objects: Objects, categories: list[dict[str, Any]], collector: ProblemCollector, split: str
) -> None:
    used = {entry["category_id"] for entry in objects.entries}
    for index, category in enumerate(categories):
        if category["id"] not in used:
            message = f"{category['name']!r} has no objects{f' in {split}' if split else ''}"
            collector.add("unused_category", "categories", index, category, message)
