"""Detections as entries of COCO results files."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from mvit_det.data.coco.fields import FieldError, shorten
from mvit_det.data.coco.masks import read_segmentation
from mvit_det.data.json_files import read_json
from mvit_det.errors import InputError


def to_results(
    image_id: int,
    boxes: NDArray[Any],
    scores: NDArray[Any],
    masks: NDArray[Any] | None,
    category_ids: Sequence[int],
) -> list[dict[str, Any]]:
    """Return the detections of one image as entries of a COCO results file.

    Args:
        image_id: id of the image.
        boxes: (K, 4) XYXY, px.
        scores: (K,) in 0..1.
        masks: (K, H, W) bool, at the size of the image; None without masks.
        category_ids: (K,) category ids of the data set, not labels.

    Source: the COCO results format, https://cocodataset.org/#format-results.
    """
    results: list[dict[str, Any]] = []
    for box, score, category_id in zip(boxes, scores, category_ids, strict=True):
        x1, y1, x2, y2 = (round(float(coordinate), 2) for coordinate in box)
        results.append(
            {
                "image_id": image_id,
                "category_id": category_id,
                "bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)],
                "score": round(float(score), 5),
            }
        )
    if masks is not None:
        for entry, mask in zip(results, masks, strict=True):
            rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
            entry["segmentation"] = {"size": list(mask.shape), "counts": rle["counts"].decode()}
    return results


def read_results(path: Path, coco: COCO) -> list[dict[str, Any]]:
    """Read a COCO results file for the images and categories of ``coco``.

    In the returned entries, ``segmentation`` is RLE, or absent for a detection without a mask. A missing
    ``bbox`` is computed from the mask.

    Raises:
        InputError: if the file is missing or is not a list of detections, if an entry refers to an unknown
            image or category, if a score is not finite, or if a box or a mask is not finite or does not fit
            its image. The message names the file, the field and the expected value.
    """
    results = read_json(path, list, "a list of detections, as in a COCO results file")
    try:
        for index, entry in enumerate(results):
            _check_result(entry, f"results[{index}]", coco)
    except FieldError as error:
        raise InputError(f"{path}: {error}") from None
    return results


def _check_result(entry: Any, where: str, coco: COCO) -> None:
    if not isinstance(entry, dict):
        raise FieldError(where, f"{shorten(entry)} is not an object")
    _check_id(entry, "image_id", where, coco.imgs, "images")
    _check_id(entry, "category_id", where, coco.cats, "categories")
    score: Any = entry.get("score")
    if not _is_number(score) or not math.isfinite(score):
        raise FieldError(f"{where}.score", f"{shorten(score)} is not a finite number")
    if entry.get("segmentation"):
        image = coco.imgs[entry["image_id"]]
        entry["segmentation"] = read_segmentation(entry["segmentation"], f"{where}.segmentation", image)
        entry["segmentation"] = coco.annToRLE(entry)
        entry.setdefault("bbox", coco_mask.toBbox(entry["segmentation"]).tolist())
    else:  # a box without a mask
        entry.pop("segmentation", None)
    _check_box(entry.get("bbox"), f"{where}.bbox")


def _check_id(entry: dict[str, Any], field: str, where: str, targets: Mapping[int, Any], name: str) -> None:
    """Check that a field is one of the ids ``targets`` of the list ``name``."""
    if field not in entry:
        raise FieldError(f"{where}.{field}", "is missing; expected a whole number")
    if type(entry[field]) is not int:
        raise FieldError(f"{where}.{field}", f"{shorten(entry[field])} is not a whole number")
    if entry[field] not in targets:
        raise FieldError(f"{where}.{field}", f"no entry of {name} has the id {entry[field]}")


def _check_box(box: Any, where: str) -> None:
    """Check that ``box`` is a list of finite numbers, with a width and a height that are not negative."""
    expected = "[x, y, width, height] in pixels"
    if box is None:
        raise FieldError(where, f"is missing; expected {expected}")
    if not isinstance(box, list) or not all(map(_is_number, box)):
        raise FieldError(where, f"{shorten(box)} is not {expected}")
    if (bad := next((value for value in box if not math.isfinite(value)), None)) is not None:
        raise FieldError(where, f"contains {bad}, which is not finite; expected {expected}")
    if len(box) != 4 or box[2] < 0 or box[3] < 0:
        raise FieldError(where, f"{shorten(box)} is not {expected}")


def _is_number(value: Any) -> bool:
    """Whether a value is a number that an array can hold."""
    return type(value) is float or (type(value) is int and abs(value) < 2**63)
