"""Transforms of annotations from their frame to the upright image."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from mvit_det.data.coco.annotations import Annotations
from mvit_det.data.coco.fields import FieldError
from mvit_det.data.coco.frames import ORIENTATIONS
from mvit_det.data.coco.rle import check_rle, rle_size
from mvit_det.data.images import ImageSize


def transform_annotations(
    annotations: Annotations,
    rows: NDArray[np.int64],
    matrix: NDArray[np.float64],
    frame: str,
    size: ImageSize,
) -> None:
    """Transform the annotations at the positions ``rows`` to the upright image, in place.

    Args:
        annotations: the annotations.
        rows: positions of the annotations to transform.
        matrix: (2, 3) map of points, from :func:`mvit_det.data.coco.frames.choose_frame`.
        frame: the name of the frame.
        size: the size of the image.
    """
    scale = abs(np.linalg.det(matrix[:, :2]))
    boxes = annotations.boxes[rows]
    boxes[:, 2:] += boxes[:, :2]
    boxes = _map_boxes(boxes, matrix)
    boxes[:, 2:] -= boxes[:, :2]
    annotations.boxes[rows] = boxes
    annotations.bounds[rows] = _map_boxes(annotations.bounds[rows], matrix)
    annotations.polygon_area[rows] *= scale
    for row, box in zip(rows.tolist(), boxes.tolist(), strict=True):
        entry = annotations.entries[row]
        if entry["bbox"] is not None:
            entry["bbox"] = box
        if isinstance(entry.get("area"), int | float):
            entry["area"] *= scale
        mask = entry.get("segmentation")
        if isinstance(mask, list):
            entry["segmentation"] = [_map_points(polygon, matrix).tolist() for polygon in mask]
        elif mask:
            entry["segmentation"] = _map_rle(mask, frame, size)


def _map_points(polygon: list[float], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return (np.array(polygon, np.float64).reshape(-1, 2) @ matrix[:, :2].T + matrix[:, 2]).ravel()


def _map_boxes(boxes: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N, 4) XYXY boxes under a map of points."""
    corners = boxes.reshape(-1, 2, 2) @ matrix[:, :2].T + matrix[:, 2]
    return np.concatenate([corners.min(1), corners.max(1)], axis=1)


def _map_rle(rle: dict[str, Any], frame: str, size: ImageSize) -> dict[str, Any]:
    height, width = rle_size(rle)[::-1]
    try:
        check_rle(rle, "segmentation", {"height": height, "width": width})
    except FieldError:  # it is reported later
        return rle
    compressed = coco_mask.frPyObjects(rle, height, width) if isinstance(rle["counts"], list) else rle
    mask = Image.fromarray(coco_mask.decode(compressed))
    transpose, _ = ORIENTATIONS[size.orientation]
    if frame == "resized":
        mask = mask.resize((size.width, size.height), Image.Resampling.NEAREST)
    elif transpose is not None:
        mask = mask.transpose(transpose)
    encoded = coco_mask.encode(np.asfortranarray(np.asarray(mask)))
    return {"size": [size.height, size.width], "counts": encoded["counts"].decode()}
