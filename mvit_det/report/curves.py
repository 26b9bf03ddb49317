"""Curves of the losses and the average precision over a run."""

import csv
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure


def draw_curves(logs: Path, path: Path) -> None:
    """Draw every loss over the steps, and the average precision, from the CSV logs of a run."""
    curves = read_curves(logs)
    losses = {name: curve for name, curve in curves.items() if name.startswith("train/")}
    scores = {name: curve for name, curve in curves.items() if name.startswith("val/")}
    figure = Figure(figsize=(10, 4))  # without pyplot, which would choose a backend for the whole process
    axes = figure.subplots(1, 2 if scores else 1, squeeze=False)
    for axis, part, title in zip(axes[0], (losses, scores), ("loss", "average precision, %"), strict=False):
        for name, points in part.items():
            steps, values = zip(*points, strict=True)
            marker = "o" if part is scores else None
            axis.plot(steps, values, label=name.split("/")[1].removeprefix("loss_"), marker=marker)
        axis.set(title=title, xlabel="step", ylim=(0, None))
        axis.grid(alpha=0.3)
        axis.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def read_curves(logs: Path) -> Mapping[str, list[tuple[int, float]]]:
    """Return name -> [(step, value), ...] from the CSV files of a run and of its resumptions."""
    curves: dict[str, dict[int, float]] = defaultdict(dict)
    for file in sorted(logs.glob("version_*/metrics.csv"), key=lambda f: int(f.parent.name[8:])):
        with file.open(newline="") as lines:
            for row in csv.DictReader(lines):
                for name, value in row.items():
                    if value and "/" in name:
                        curves[name][int(row["step"]) + 1] = float(value)
    return {name: sorted(points.items()) for name, points in curves.items()}
