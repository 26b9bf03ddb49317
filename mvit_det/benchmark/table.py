"""The table that the benchmark prints."""

from collections.abc import Iterable
from typing import Any

from mvit_det.benchmark.compare import WARM_UPS

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


def _cell(value: Any, form: str) -> str:
    if isinstance(value, dict):
        return f"{value['median']:{form}} [{value['q1']:{form}}-{value['q3']:{form}}]"
    return format(value, form) if isinstance(value, float) else value or "-"


def _aligned(cells: Iterable[object]) -> str:
    pairs = zip(cells, COLUMN_WIDTHS.values(), strict=True)
    return "".join(f"{cell!s:<{width - 1}} " for cell, width in pairs).rstrip()
