"""COCO's average precision of boxes and masks, computed by pycocotools."""

import contextlib
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mvit_det.data.coco.crowd_masks import with_crowd_masks
from mvit_det.data.coco.index import category_names, index_coco

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
Metrics = dict[str, dict[str, Any]]


def evaluate(coco: COCO, results: list[dict[str, Any]], *, has_masks: bool) -> Metrics:
    """Return the average precision of boxes and, optionally, of masks, in percent.

    Args:
        coco: the ground truth.
        results: entries of a COCO results file.
        has_masks: whether masks are evaluated too. Every object of the ground truth and every entry of the
            results must have one.

    Returns:
        ``{"box": {...}}`` or ``{"box": {...}, "mask": {...}}``, each with ``AP`` (mean over IoU thresholds
        0.5 to 0.95), ``AP50``, ``AP75``, ``APs``, ``APm``, ``APl`` (objects of less than 32², of 32² to 96²,
        and of more than 96² pixels) and ``per_class`` (category name -> AP). A value is None if the ground
        truth has no objects of that size or category.

    Source: COCO's detection evaluation, https://cocodataset.org/#detection-eval.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        metrics = {"box": _average_precision(coco, _load_results(coco, results), "bbox")}
        if has_masks:
            # With a box, loadRes would take the area of the box for that of the detection, which decides
            # whether it counts as small, medium or large.
            masks = [{key: value for key, value in entry.items() if key != "bbox"} for entry in results]
            truth = index_coco({**coco.dataset, "annotations": with_crowd_masks(coco.dataset["annotations"])})
            metrics["mask"] = _average_precision(truth, _load_results(truth, masks), "segm")
    return metrics


def _load_results(coco: COCO, results: list[dict[str, Any]]) -> COCO:
    if results:
        return coco.loadRes([dict(entry) for entry in results])  # copies, since loadRes modifies them
    return index_coco({**coco.dataset, "annotations": []})  # loadRes fails on an empty list


def _average_precision(coco: COCO, detections: COCO, iou_type: str) -> dict[str, Any]:
    evaluation = COCOeval(coco, detections, iou_type)
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"][..., -1]  # (IoU, recall, category, size of the objects)
    any_size, small, medium, large = np.moveaxis(precision, -1, 0)
    iou = evaluation.params.iouThrs
    ap50, ap75 = any_size[np.isclose(iou, 0.5)], any_size[np.isclose(iou, 0.75)]
    values = (any_size, ap50, ap75, small, medium, large)
    metrics: dict[str, Any] = {name: _mean(value) for name, value in zip(METRICS, values, strict=True)}
    names = category_names(coco)
    if len(set(names.values())) < len(names):
        names = {category_id: f"{name} ({category_id})" for category_id, name in names.items()}
    metrics["per_class"] = {
        names[category_id]: _mean(any_size[:, :, index])
        for index, category_id in enumerate(evaluation.params.catIds)
    }
    return metrics


def _mean(precision: NDArray[Any]) -> float | None:
    known = precision[precision > -1]  # -1 marks categories without objects
    return round(100 * float(known.mean()), 2) if known.size else None
