"""The tables that the benchmark of detectors prints, in Markdown."""

from collections.abc import Sequence
from typing import Any

from mvit_det.benchmark.compare import WARM_UPS
from mvit_det.errors import counted


def header(machine: dict[str, Any], settings: dict[str, Any]) -> str:
    """Return the lines above the tables: the machine and the settings."""
    gpu = f"{machine['gpu']}; " if machine["gpu"] else ""
    height, width = settings["size"]
    allocator = ", freed memory kept" if settings["keep_freed_memory"] else ""
    repeats, warm_ups = counted(settings["repeats"], "repeat"), counted(WARM_UPS, "warm-up")
    return (
        f"Mask R-CNN {settings['variant']}, {settings['batch']} x 3 x {height} x {width}, on {gpu}"
        f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads, "
        f"torch {machine['torch']}; {repeats} after {warm_ups}{allocator}"
    )


def agreement_line(name: str, reference: str, found: dict[str, Any]) -> str:
    """Return a sentence about the result of :func:`mvit_det.benchmark.agreement.compare_detections`."""
    numbers = f"{found['matched']} of {found['detections']} detections"
    if not found["agree"]:
        return f"WRONG: only {numbers} of {name} are those of {reference}, although their weights are equal."
    return f"{name} and {reference}: {numbers} agree, with scores within {found['score_difference']:.1e}."


def times_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the times and the memory of detectors; ratios above 1 are faster than the first detector."""
    lines = [["detector", "s", f"{rows[0]['detector']} / this", "peak, MB"]]
    for row in rows:
        lines.append(
            [
                row["detector"],
                row["ms"] if isinstance(row["ms"], str) else f"{row['ms']['median'] / 1e3:.3f}",
                "-" if row["ratio"] is None else "{median:.2f} [{q1:.2f}-{q3:.2f}]".format(**row["ratio"]),
                "-" if row["peak_mb"] is None else f"{row['peak_mb']:.0f}",
            ]
        )
    return _markdown(lines)


def parts_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the milliseconds of each part of the detectors; of a step, forward + backward."""
    parts = dict.fromkeys(part for row in rows for part in row["parts_ms"])
    names = sorted(parts, key=lambda part: -max(_sum(row, part) for row in rows))
    title = "ms, forward + backward" if rows[0]["mode"] == "step" else "ms"
    lines = [[title, *(row["detector"] for row in rows)]]
    for name in names:
        lines.append([name, *(_cell(row, name) for row in rows)])
    return _markdown(lines)


def _sum(row: dict[str, Any], part: str) -> float:
    return sum(row["parts_ms"].get(part, {}).values())


def _cell(row: dict[str, Any], part: str) -> str:
    if part not in row["parts_ms"]:
        return "-"
    values = row["parts_ms"][part]
    forward = f"{values['forward']:.1f}"
    return f"{forward} + {values['backward']:.1f}" if row["mode"] == "step" else forward


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    """Return a table whose columns are aligned; the first line has the titles."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    aligned.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in aligned)
