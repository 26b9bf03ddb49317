"""Names of metrics that contain the name of a class."""

import re

from mvit_det.detectron2.engine.hooks import Results

PER_CLASS = "AP-"  # prefix of Detectron2's metrics of one class
MAX_NAME = 200  # characters; MLflow refuses names of more than 250


def with_plain_names(results: Results) -> Results:
    """Return results in which the names of classes are plain text, for TensorBoard and experiment trackers.

    Characters other than letters, digits, spaces and ``_.-`` become ``_``. MLflow refuses the others, and in
    HTML they could be markup. Long names are cut. A number is added to names that are then the same.
    """
    return {task: _plain(metrics) for task, metrics in results.items()}


def _plain(metrics: dict[str, float]) -> dict[str, float]:
    plain: dict[str, float] = {}
    for name, value in metrics.items():
        short = re.sub(r"[^\w.\- ]", "_", name)[:MAX_NAME].rstrip() if name.startswith(PER_CLASS) else name
        unique, number = short, 1
        while unique in plain or (unique != name and unique in metrics):
            number += 1
            unique = f"{short}_{number}"
        plain[unique] = value
    return plain
