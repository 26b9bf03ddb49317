"""Masks of crowd regions that have a box alone."""

from collections.abc import Iterable
from typing import Any


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
    return [x, y, x + width, y, x + width, y + height, x, y + height]
