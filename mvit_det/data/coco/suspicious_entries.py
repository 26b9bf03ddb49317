"""Warnings of annotations and categories that can be used, but are suspicious."""

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from mvit_det.data.coco.annotations import Annotations, Array
from mvit_det.data.coco.rle import compressed
from mvit_det.data.problems import ProblemCollector

MIN_OVERLAP = 0.5  # IoU of a box with the bounds of its mask, below which the two are said not to match


def find_suspicious_entries(
    annotations: Annotations, categories: list[dict[str, Any]], collector: ProblemCollector, split: str = ""
) -> None:
    """Find annotations and categories that can be used, but may be mistakes.

    These are tiny boxes, boxes that look like fractions of the image, polygons without area, masks
    outside their boxes, identical annotations, and categories without objects. The messages about categories
    name ``split``, unless it is empty.
    """
    boxes = annotations.boxes
    for row in np.flatnonzero((boxes[:, 2:] < 1).any(1)).tolist():
        width, height = boxes[row, 2:].tolist()
        is_fraction = boxes[row].min() >= 0 and boxes[row].max() <= 1
        kind = "fraction_box" if is_fraction else "tiny_box"
        annotations.report(collector, row, kind, "bbox", f"the box is {width:g} x {height:g} px")
    has_polygons = np.isfinite(annotations.bounds).all(1)
    for row in np.flatnonzero(has_polygons & (annotations.polygon_area <= 0)).tolist():
        annotations.report(collector, row, "flat_mask", "segmentation", "the polygons have no area")
    _warn_of_masks_beside_boxes(annotations, collector)
    _warn_of_repetitions(annotations, collector)
    _warn_of_unused_categories(annotations, categories, collector, split)


def _warn_of_masks_beside_boxes(annotations: Annotations, collector: ProblemCollector) -> None:
    boxes, bounds = annotations.boxes, _mask_bounds(annotations)
    low = np.maximum(boxes[:, :2], bounds[:, :2])
    high = np.minimum(boxes[:, :2] + boxes[:, 2:], bounds[:, 2:])
    shared = np.clip(high - low, 0, None).prod(1)
    union = boxes[:, 2:].prod(1) + (bounds[:, 2:] - bounds[:, :2]).prod(1) - shared
    for row in np.flatnonzero(shared < MIN_OVERLAP * union).tolist():
        entry = annotations.entries[row]
        if not entry["iscrowd"]:
            x1, y1, x2, y2 = bounds[row].tolist()
            covered = f"[{x1:.6g}, {y1:.6g}, {x2 - x1:.6g}, {y2 - y1:.6g}]"
            message = f"the mask covers {covered}, and the box is {entry['bbox']}"
            annotations.report(collector, row, "mask_beside_box", "segmentation", message)


def _mask_bounds(annotations: Annotations) -> Array:
    """Return (N, 4) XYXY of the masks, px; NaN for an object without a mask and an RLE without pixels."""
    rows = np.flatnonzero(np.isnan(annotations.bounds[:, 0])).tolist()  # without polygons
    segmentations = ((row, annotations.entries[row].get("segmentation")) for row in rows)
    masks = {row: compressed(mask) for row, mask in segmentations if mask}
    if not masks:
        return annotations.bounds
    boxes = coco_mask.toBbox(list(masks.values()))  # (R, 4) XYWH
    boxes[(boxes[:, 2:] == 0).any(1)] = np.nan
    bounds = annotations.bounds.copy()
    bounds[list(masks)] = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    return bounds


def _warn_of_repetitions(annotations: Annotations, collector: ProblemCollector) -> None:
    categories = np.array([entry["category_id"] for entry in annotations.entries], np.float64)
    rows = np.column_stack([annotations.image_ids, categories, annotations.boxes])
    order = np.lexsort(rows.T[::-1])
    same = (rows[order][1:] == rows[order][:-1]).all(1)
    for position in np.flatnonzero(same).tolist():
        first, second = sorted(order[position : position + 2].tolist())
        entry, other = annotations.entries[second], annotations.entries[first]
        if entry.get("segmentation") == other.get("segmentation") and entry["iscrowd"] == other["iscrowd"]:
            place = other.get("_source") or f"annotations[{annotations.index[first]}]"
            message = f"is identical to {place}"
            annotations.report(collector, second, "repeated_annotation", "", message)


def _warn_of_unused_categories(
    annotations: Annotations, categories: list[dict[str, Any]], collector: ProblemCollector, split: str
) -> None:
    if not annotations.entries and any(problem.effect == "drop" for problem in collector.problems):
        return  # the objects may be among those that cannot be read
    used = {entry["category_id"] for entry in annotations.entries if not entry["iscrowd"]}
    for index, category in enumerate(categories):
        if category["id"] not in used:
            message = f"{category['name']!r} has no objects{f' in {split}' if split else ''}"
            collector.add("unused_category", "categories", index, category, message)
