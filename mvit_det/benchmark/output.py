"""The table that the benchmark prints, and the plot that it saves."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import linear_regression
from typing import Any

from mvit_det.benchmark.compare import WARM_UPS
from mvit_det.benchmark.measure import OUT_OF_MEMORY

COLUMN_WIDTHS = {  # characters
    "variant": 12,
    "against": 25,
    "mode": 8,
    "size": 10,
    "batch": 6,
    "dtype": 8,
    "ours, ms": 24,
    "theirs, ms": 24,
    "theirs/ours": 18,
    "GFLOP": 8,
    "of rate": 13,
    "saved, MB": 20,
    "peak, MB": 16,
}


def header(machine: dict[str, Any], settings: dict[str, Any]) -> str:
    """Return the lines above the table: the machine, its rates, the settings, and the column names."""
    gpu = f"{machine['gpu']}; " if machine["gpu"] else ""
    rates = ", ".join(f"{dtype} {rate:.0f} GFLOP/s" for dtype, rate in machine["matrix_gflop_per_s"].items())
    allocator = ", freed memory kept" if settings["keep_freed_memory"] else ""
    return "\n".join(
        (
            f"{gpu}{machine['cpu']}, cores {machine['cores']}, threads {machine['threads']}; "
            f"torch {machine['torch']}, float32 matmul precision {machine['float32_matmul_precision']}",
            f"matrix rate {rates}; copy {machine['copy_gb_per_s']:.0f} GB/s",
            f"on {settings['device']}, repeats {settings['repeats']} after {WARM_UPS} warm-ups{allocator}",
            _aligned(COLUMN_WIDTHS),
        )
    )


def table_line(row: dict[str, Any]) -> str:
    """Return a row as a line of the table; times are medians, followed by the quartiles in brackets."""
    cells = [row["variant"], row["against"], row["mode"], "x".join(map(str, row["size_hw"])), row["batch"]]
    cells += [row["dtype"], _cell(row["ours_ms"], ".1f"), _cell(row["theirs_ms"], ".1f")]
    cells += [_cell(row["ratio"], ".2f"), _cell(row["gflop"], ".1f")]
    for key, form in (("share", ".0%"), ("saved_mb", ".1f"), ("peak_mb", ".1f")):
        cells.append(f"{_cell(row[f'ours_{key}'], form)} / {_cell(row[f'theirs_{key}'], form)}")
    return _aligned(cells)


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw time against image area on logarithmic axes, with the exponent of each line in the legend."""
    from matplotlib.figure import Figure

    modes = list(dict.fromkeys(row["mode"] for row in rows))
    figure = Figure(figsize=(7 * len(modes), 6), layout="constrained")
    for mode, axes in zip(modes, figure.subplots(1, len(modes), squeeze=False)[0], strict=True):
        for label, times in _times_by_area([row for row in rows if row["mode"] == mode]).items():
            areas = sorted(times)
            costs = [times[area] for area in areas]
            if len(areas) > 1:
                slope = linear_regression([math.log(x) for x in areas], [math.log(y) for y in costs]).slope
                label = f"{label}: area^{slope:.2f}"
            axes.loglog(areas, costs, marker="o", label=label)
        axes.set(title=mode, xlabel="area of an image, megapixels", ylabel="time of a batch, ms")
        axes.grid(which="both", alpha=0.3)
        if axes.lines:
            axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def _times_by_area(rows: Iterable[dict[str, Any]]) -> dict[str, dict[float, float]]:
    """Return the median times (ms) by area (megapixels) for each label of the plot.

    Our model is measured against each opponent; only its first measurement counts.
    """
    lines: dict[str, dict[float, float]] = {}
    for row in rows:
        for name, key in (("ours", "ours_ms"), (row["against"], "theirs_ms")):
            if row["against"] != "timm-mvitv2" and row[key] != OUT_OF_MEMORY:  # timm runs at a single size
                line = lines.setdefault(f"{row['variant']} {name}, {row['dtype']}", {})
                line.setdefault(math.prod(row["size_hw"]) / 1e6, row[key]["median"])
    return lines


def _cell(value: Any, form: str) -> str:
    if isinstance(value, dict):
        return f"{value['median']:{form}} [{value['q1']:{form}}-{value['q3']:{form}}]"
    return format(value, form) if isinstance(value, float) else value or "-"


def _aligned(cells: Iterable[object]) -> str:
    pairs = zip(cells, COLUMN_WIDTHS.values(), strict=True)
    return "".join(f"{cell!s:<{width - 1}} " for cell, width in pairs).rstrip()
