"""Plots of the losses and the average precision of a training run."""

import csv
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mvit_det.report.figures import write_figure


def draw_curves(logs: Path, path: Path) -> None:
    """Plot the losses and the average precision over the steps.

    Args:
        logs: folder of the run's CSV logs.
        path: image file to write.
    """
    curves = read_curves(logs)
    losses = {name: curve for name, curve in curves.items() if name.startswith("train/")}
    scores = {name: curve for name, curve in curves.items() if name.startswith("val/")}
    figure = Figure(figsize=(10, 4))  # not with pyplot, which selects a backend for the whole process
    axes = figure.subplots(1, 2 if scores else 1, squeeze=False)
    plots = [(losses, "loss", "."), (scores, "average precision, %", "o")]
    for axis, (lines, title, marker) in zip(axes[0], plots, strict=False):  # without scores, one axis
        for name, points in lines.items():
            steps, values = zip(*points, strict=True)
            axis.plot(steps, values, label=name.split("/")[1].removeprefix("loss_"), marker=marker)
        axis.set(title=title, xlabel="step", ylim=(0, None))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.grid(alpha=0.3)
        if lines:
            axis.legend(fontsize="small")
    figure.tight_layout()
    write_figure(path, figure)


def read_curves(logs: Path) -> Mapping[str, list[tuple[int, float]]]:
    """Return name -> [(step, value), ...] from the CSV logs of a run and of its continuations.

    Where a resumed run repeats steps, the later values count.
    """
    curves: dict[str, dict[int, float]] = defaultdict(dict)
    for file in sorted(logs.glob("version_*/metrics.csv"), key=_version):
        lines = file.read_text().splitlines(keepends=True)
        complete = [line for line in lines if line.endswith("\n")]  # all but the last one of a killed run
        for row in csv.DictReader(complete):
            for name, value in row.items():
                if value and "/" in name:
                    curves[name][int(row["step"]) + 1] = float(value)
    return {name: sorted(points.items()) for name, points in curves.items()}


def _version(file: Path) -> int:
    return int(file.parent.name.removeprefix("version_"))
