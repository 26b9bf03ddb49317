"""Masks of crowd regions that have a box alone."""

from collections.abc import Iterable
from typing import Any

from mvit_det.data.coco.image_entries import MAX_SIDE


def with_crowd_masks(annotations: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return annotations in which every crowd region has a mask, which is its box if it had none.

    pycocotools needs a mask of every annotation to evaluate masks, also of those that it ignores.

    Args:
        annotations: entries of a COCO file, which are not changed. Boxes are XYWH in pixels.
    """
    return [
        entry | {"segmentation": [_corners(*entry["bbox"])]}
        if entry["iscrowd"] and not entry.get("segmentation")
        else entry
        for entry in annotations
    ]


def _corners(x: float, y: float, width: float, height: float) -> list[float]:
    """Return the corners of a box, without its part to which no image extends."""
    x1, y1, x2, y2 = (min(max(value, 0), MAX_SIDE) for value in (x, y, x + width, y + height))
    return [x1, y1, x2, y1, x2, y2, x1, y2]
