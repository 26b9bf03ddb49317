"""Measures two models in turn, so that a busy machine slows down both."""

from collections.abc import Iterable
from typing import Any

import torch

from mvit_det.benchmark.measure import OUT_OF_MEMORY, Case, Side

WARM_UPS = 2


def compare(ours: Side, theirs: Side, case: Case, repeats: int) -> dict[str, Any]:
    """Return the costs of both sides; each value is ``OUT_OF_MEMORY`` if a GPU has too little.

    Returns:
        ``ratio``: quartiles over the repeats of their time over ours, None if a side ran out of memory.
        For each side, prefixed with ``ours_`` or ``theirs_``: ``ms``, the quartiles of its time;
        ``saved_mb``, what autograd saves for the backward pass (10^6 bytes), None for a forward pass;
        ``peak_mb``, the peak of allocated memory, None on a CPU, which counts it for a whole process;
        ``loss``, which shows whether both sides compute the same.
    """
    sides = {"ours": ours, "theirs": theirs}
    times: dict[str, list[Any]] = {name: [] for name in sides}
    for _ in range(WARM_UPS + repeats):
        for name, side in sides.items():
            if OUT_OF_MEMORY not in times[name]:
                times[name].append(side.measure("seconds", case))

    row: dict[str, Any] = {"ratio": None}
    for name, side in sides.items():
        is_full = OUT_OF_MEMORY in times[name]
        row[f"{name}_ms"] = OUT_OF_MEMORY if is_full else quartiles(1e3 * t for t in times[name][WARM_UPS:])
        saved = side.measure("saved_bytes", case) if case.mode == "step" else None
        peak = side.measure("peak_bytes", case) if case.device == "cuda" else None
        for key, value in (("saved", saved), ("peak", peak)):
            row[f"{name}_{key}_mb"] = value / 1e6 if isinstance(value, int) else value
        row[f"{name}_loss"] = side.measure("loss", case)
    if OUT_OF_MEMORY not in (row["ours_ms"], row["theirs_ms"]):
        pairs = zip(times["ours"], times["theirs"], strict=True)
        row["ratio"] = quartiles([their / our for our, their in pairs][WARM_UPS:])
    return row


def quartiles(values: Iterable[float]) -> dict[str, float]:
    """Return the median and the quartiles, interpolated linearly."""
    data = torch.tensor(list(values), dtype=torch.float64)
    q1, median, q3 = data.quantile(data.new_tensor([0.25, 0.5, 0.75])).tolist()
    return {"q1": q1, "median": median, "q3": q3}
