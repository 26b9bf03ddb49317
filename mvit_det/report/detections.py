"""Detections of one image as supervision's ``Detections``: drawn, and as entries of a COCO results file."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import supervision as sv
from pycocotools import mask as coco_mask
from supervision.detection.compact_mask import CompactMask

from mvit_det.data.results import to_results
from mvit_det.report.drawing import RgbImage, draw_objects

NO_TRACK = -1  # the track id of an object that is in no track


def to_entries(image_id: int, detections: sv.Detections) -> list[dict[str, Any]]:
    """Return detections as entries of a COCO results file.

    An object of a track has the field ``track_id`` in addition.

    Args:
        image_id: id of the image.
        detections: detections with scores. Their class ids are category ids.
    """
    objects: Any = detections  # supervision declares its fields as optional
    is_compact = isinstance(objects.mask, CompactMask)
    masks = None if is_compact else objects.mask
    entries = to_results(image_id, objects.xyxy, objects.confidence, masks, objects.class_id.tolist())
    if is_compact:
        for index, entry in enumerate(entries):
            entry["segmentation"] = _to_rle(objects.mask, index)
    if objects.tracker_id is not None:
        for entry, track_id in zip(entries, objects.tracker_id.tolist(), strict=True):
            if track_id != NO_TRACK:
                entry["track_id"] = track_id
    return entries


def _to_rle(masks: CompactMask, index: int) -> dict[str, Any]:
    """Return a mask as COCO's RLE without decoding the columns of the image to the left and right of it."""
    height, width = masks.shape[1:]
    (left, top), crop = masks.offsets[index].tolist(), masks.crop(index)
    columns = np.zeros((height, crop.shape[1]), bool)
    columns[top : top + crop.shape[0]] = crop
    runs: Any = sv.mask_to_rle(columns)  # lengths of background, object, background, ..., column by column
    runs[0] += left * height
    if right := (width - left - crop.shape[1]) * height:
        runs += [0] * (len(runs) % 2 == 0)  # the columns end with the object
        runs[-1] += right
    rle = coco_mask.frPyObjects({"size": [height, width], "counts": runs}, height, width)
    return {"size": [height, width], "counts": rle["counts"].decode()}


def draw_detections(
    image: RgbImage, detections: sv.Detections, categories: Mapping[int, str], min_score: float = 0.0
) -> RgbImage:
    """Return a copy of an image with its detections. Those in tracks have the number and color of the track.

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
    ids, track_ids = objects.class_id, objects.tracker_id
    if ids is None or not categories.keys() >= set(ids.tolist()):
        raise ValueError(f"class ids {ids}: must be among {list(categories)}")
    if objects.mask is not None and objects.mask.shape[1:] != image.shape[:2]:
        raise ValueError(f"masks {objects.mask.shape}: must have the size {image.shape[:2]} of the image")
    return draw_objects(
        image,
        objects.xyxy,
        objects.mask,
        ids,
        categories,
        objects.confidence,
        None if track_ids is None else [None if id_ == NO_TRACK else id_ for id_ in track_ids.tolist()],
    )
