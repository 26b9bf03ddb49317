"""COCO's average precision for boxes and masks, by pycocotools."""

import contextlib
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rich.table import Table

from mvit_det.data.annotations import category_names, index_coco

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
Metrics = dict[str, dict[str, Any]]


def evaluate(coco: COCO, results: list[dict[str, Any]]) -> Metrics:
    """Return the average precision of boxes and masks, in percent.

    Args:
        coco: the truth.
        results: entries of a COCO results file, over any of its pictures.

    Returns:
        ``{"box": {...}, "mask": {...}}``, each with ``AP`` (mean over IoU 0.5 to 0.95), ``AP50``,
        ``AP75``, ``APs``, ``APm``, ``APl`` (objects below 32², between, above 96² pixels) and
        ``per_class``: category name -> AP. None stands where the truth has no such object.

    Source: COCO's detection evaluation, https://cocodataset.org/#detection-eval.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        found = _load_results(coco, results)
        return {
            kind: _average_precision(coco, found, iou_type)
            for kind, iou_type in (("box", "bbox"), ("mask", "segm"))
        }


def _load_results(coco: COCO, results: list[dict[str, Any]]) -> COCO:
    if results:
        return coco.loadRes([dict(entry) for entry in results])  # loadRes writes into them
    return index_coco({**coco.dataset, "annotations": []})  # loadRes fails on an empty list


def _average_precision(coco: COCO, found: COCO, iou_type: str) -> dict[str, Any]:
    run = COCOeval(coco, found, iou_type)
    run.evaluate()
    run.accumulate()
    precision = run.eval["precision"]  # (IoU, recall, category, area, detections), -1: no truth
    iou = run.params.iouThrs
    ap50, ap75 = precision[np.isclose(iou, 0.5)], precision[np.isclose(iou, 0.75)]
    values = [precision[:, :, :, 0], ap50[:, :, :, 0], ap75[:, :, :, 0]]
    values += [precision[:, :, :, area] for area in (1, 2, 3)]
    metrics: dict[str, Any] = {
        name: _mean(value[..., -1]) for name, value in zip(METRICS, values, strict=True)
    }
    names = category_names(coco)
    if len(set(names.values())) < len(names):
        names = {category_id: f"{name} ({category_id})" for category_id, name in names.items()}
    metrics["per_class"] = {
        names[category_id]: _mean(precision[:, :, number, 0, -1])
        for number, category_id in enumerate(run.params.catIds)
    }
    return metrics


def _mean(precision: NDArray[Any]) -> float | None:
    known = precision[precision > -1]
    return round(100 * float(known.mean()), 2) if known.size else None


def metrics_tables(metrics: Metrics) -> tuple[Table, Table]:
    """Return the metrics as tables for the screen: the whole, and the AP of each class."""
    whole = Table("average precision, %")
    for name in METRICS:
        whole.add_column(name, justify="right")
    for kind, values in metrics.items():
        whole.add_row(kind, *(_cell(values[name]) for name in METRICS))
    classes = Table("class")
    for kind in metrics:
        classes.add_column(f"{kind} AP", justify="right")
    for name in metrics["box"]["per_class"]:
        classes.add_row(name, *(_cell(values["per_class"][name]) for values in metrics.values()))
    return whole, classes


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
