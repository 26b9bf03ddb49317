"""COCO results files: detections written, and read again."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from mvit_det.data.fields import (
    FieldError,
    check_box,
    check_objects,
    check_references,
    check_segmentation,
    read_json,
    short,
)
from mvit_det.errors import InputError


def to_results(
    image_id: int,
    boxes: NDArray[Any],
    scores: NDArray[Any],
    masks: NDArray[Any],
    category_ids: Sequence[int],
) -> list[dict[str, Any]]:
    """Return one COCO results entry per detection of one picture.

    Args:
        image_id: id of the picture.
        boxes: (K, 4) XYXY, px.
        scores: (K,) in 0..1.
        masks: (K, H, W) bool, at the size of the picture.
        category_ids: (K,) ids of the data set, not labels.

    Source: the COCO results format, https://cocodataset.org/#format-results.
    """
    results = []
    for box, score, mask, category_id in zip(boxes, scores, masks, category_ids, strict=True):
        x1, y1, x2, y2 = (round(float(side), 2) for side in box)
        rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
        results.append(
            {
                "image_id": image_id,
                "category_id": category_id,
                "bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)],
                "score": round(float(score), 5),
                "segmentation": {"size": list(mask.shape), "counts": rle["counts"].decode()},
            }
        )
    return results


def read_results(path: Path, coco: COCO) -> list[dict[str, Any]]:
    """Read a COCO results file over the pictures and categories of ``coco``.

    Every entry has a ``bbox``, that of its mask if the file gives none; where it has a
    ``segmentation``, this is RLE.

    Raises:
        InputError: naming the file, the field and what would be right, if the file is missing or no
            list of detections, or one of these refers to what ``coco`` has not, lacks a finite score,
            or holds a box or a mask that is not finite or does not fit its picture.
    """
    results = read_json(path, list, "a list of detections, as of a COCO results file")
    try:
        check_objects(results, "results")
        for number, entry in enumerate(results):
            _check_result(entry, f"results[{number}]", coco)
    except FieldError as error:
        raise InputError(f"{path}: {error}") from None
    return results


def _check_result(entry: dict[str, Any], where: str, coco: COCO) -> None:
    check_references(entry, where, coco.imgs, coco.cats)
    score = entry.get("score")
    if not isinstance(score, int | float) or not math.isfinite(score):
        raise FieldError(f"{where}.score: {short(score)} is not a finite number")
    if entry.get("segmentation"):
        check_segmentation(entry["segmentation"], f"{where}.segmentation", coco.imgs[entry["image_id"]])
        entry["segmentation"] = coco.annToRLE(entry)
        entry.setdefault("bbox", coco_mask.toBbox(entry["segmentation"]).tolist())
    else:  # of boxes alone
        entry.pop("segmentation", None)
    check_box(entry.get("bbox"), f"{where}.bbox")


def write_json(path: Path, data: Any) -> None:
    """Write ``data`` as JSON, whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(data, allow_nan=False), encoding="utf-8")
    part.replace(path)
