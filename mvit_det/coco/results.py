"""Detections as the entries of a COCO results file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask


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


def write_json(path: Path, data: Any) -> None:
    """Write ``data`` as JSON, whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(data, allow_nan=False), encoding="utf-8")
    part.replace(path)
