"""Detections of one image as supervision's ``Detections``: drawn, and as entries of a COCO results file."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import supervision as sv

from mvit_det.data.results import to_results
from mvit_det.report.drawing import RgbImage, draw_objects


def to_entries(image_id: int, detections: sv.Detections) -> list[dict[str, Any]]:
    """Return detections as entries of a COCO results file.

    Args:
        image_id: id of the image.
        detections: detections with scores. Their class ids are category ids.
    """
    objects: Any = detections  # supervision declares its fields as optional
    masks = None if objects.mask is None else np.asarray(objects.mask)
    return to_results(image_id, objects.xyxy, objects.confidence, masks, objects.class_id.tolist())


def draw_detections(
    image: RgbImage, detections: sv.Detections, categories: Mapping[int, str], min_score: float = 0.0
) -> RgbImage:
    """Return a copy of an image with its detections.

    Args:
        image: (H, W, 3) RGB.
        detections: the detections. Their class ids are category ids.
        categories: category id -> name.
        min_score: the lowest score of a detection that is drawn.

    Raises:
        ValueError: if the detections have no class ids or other ones, or masks of another size.
    """
    objects: Any = detections
    if objects.confidence is not None:
        objects = objects[objects.confidence >= min_score]
    ids = objects.class_id
    if ids is None or not categories.keys() >= set(ids.tolist()):
        raise ValueError(f"class ids {ids}: must be among {list(categories)}")
    if objects.mask is not None and objects.mask.shape[1:] != image.shape[:2]:
        raise ValueError(f"masks {objects.mask.shape}: must have the size {image.shape[:2]} of the image")
    return draw_objects(
        image,
        objects.xyxy,
        None if objects.mask is None else np.asarray(objects.mask),
        ids,
        categories,
        objects.confidence,
    )
