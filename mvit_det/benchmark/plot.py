"""The plot of time against image area."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import linear_regression
from typing import Any

from mvit_det.benchmark.measure import OUT_OF_MEMORY


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw time against the area of an image on logarithmic axes, with each line's exponent in the legend."""
    from matplotlib.figure import Figure

    modes = list(dict.fromkeys(row["mode"] for row in rows))
    figure = Figure(figsize=(7 * len(modes), 6), layout="constrained")
    for mode, axes in zip(modes, figure.subplots(1, len(modes), squeeze=False)[0], strict=True):
        for label, line in _lines([row for row in rows if row["mode"] == mode]).items():
            areas = sorted(line)
            costs = [line[area] for area in areas]
            if len(areas) > 1:
                slope = linear_regression([math.log(x) for x in areas], [math.log(y) for y in costs]).slope
                label = f"{label}: area^{slope:.2f}"
            axes.loglog(areas, costs, marker="o", label=label)
        axes.set(title=mode, xlabel="area of an image, megapixels", ylabel="time of a batch, ms")
        axes.grid(which="both", alpha=0.3)
        if axes.lines:
            axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def _lines(rows: Iterable[dict[str, Any]]) -> dict[str, dict[float, float]]:
    """Return for each label the median times (ms) by area (megapixels); of ours, the first measurement."""
    lines: dict[str, dict[float, float]] = {}
    for row in rows:
        for name, key in (("ours", "ours_ms"), (row["against"], "theirs_ms")):
            if row["against"] != "timm-mvitv2" and row[key] != OUT_OF_MEMORY:  # timm runs at a single size
                line = lines.setdefault(f"{row['variant']} {name}, {row['dtype']}", {})
                line.setdefault(math.prod(row["size_hw"]) / 1e6, row[key]["median"])
    return lines
