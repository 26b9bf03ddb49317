"""Compares our backbone with other models, which run in turn so that a busy machine slows down both.

timm's MViTv2 returns only its last feature map and runs at the 224 x 224 px of its pretraining. Our backbone
then runs at that size too, with a batch of about the same total area.
"""

import argparse
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import product
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from mvit_det.backbone.mvit import build_mvit
from mvit_det.benchmark.measure import OUT_OF_MEMORY, Case, LocalModel, MeasuredModel
from mvit_det.benchmark.opponents import TIMM_SIZE, has_our_architecture, open_opponent, variants_of

WARM_UPS = 2  # runs of each model before the repeats


def compare_all(args: argparse.Namespace, matrix_rates: dict[str, float]) -> Iterator[dict[str, Any]]:
    """Yield a row of results for each variant, opponent, dtype, mode and size.

    Args:
        args: what :func:`mvit_det.benchmark.main.parse` returns.
        matrix_rates: the machine's rate of matrix products by dtype, GFLOP/s.

    Yields:
        the settings; ``gflop``, the arithmetic of our model; what :func:`compare` returns; and
        ``ours_share`` and ``theirs_share``, the fraction of the matrix rate that each model reaches, or None
        if it ran out of memory or has another architecture than ours.
    """
    for variant in args.variants:
        model = build_mvit(variant, drop_path_rate=0.0).to(args.device)
        for name in args.against:
            if variant not in variants_of(name):
                continue
            shapes = [(args.batch, *size) for size in args.sizes]
            if name == "timm-mvitv2":
                areas = [batch * height * width for batch, height, width in shapes]
                shapes = [(max(1, round(area / TIMM_SIZE**2)), TIMM_SIZE, TIMM_SIZE) for area in areas]
            with open_opponent(name, variant, model, args.device, args.keep_freed_memory) as opponent:
                for dtype, mode, shape in product(args.dtypes, args.modes, dict.fromkeys(shapes)):
                    case = Case(mode, dtype, args.device, *shape)
                    row = {"variant": variant, "against": name, **_settings(variant, case)}
                    row |= compare(LocalModel(model), opponent, case, args.repeats)
                    for prefix, is_counted in (("ours", True), ("theirs", has_our_architecture(name))):
                        ms, share = row[f"{prefix}_ms"], None
                        if is_counted and ms != OUT_OF_MEMORY:
                            share = 1e3 * row["gflop"] / ms["median"] / matrix_rates[dtype]
                        row[f"{prefix}_share"] = share
                    yield row


def compare(ours: MeasuredModel, theirs: MeasuredModel, case: Case, repeats: int) -> dict[str, Any]:
    """Return the time and memory of both models; a value is ``OUT_OF_MEMORY`` if the GPU has too little.

    Each repeat runs both models once, ours first.

    Returns:
        ``ratio``: quartiles over the repeats of their time over ours, None if a model ran out of memory.
        For each model, prefixed with ``ours_`` or ``theirs_``:
        ``ms``: quartiles of its time, milliseconds;
        ``saved_mb``: what autograd saves for the backward pass (10^6 bytes), None for a forward pass;
        ``peak_mb``: the peak of allocated memory (10^6 bytes), None on a CPU, where it cannot be measured for
        one model;
        ``loss``: equal for both models if they compute the same.
    """
    models = {"ours": ours, "theirs": theirs}
    times: dict[str, list[Any]] = {name: [] for name in models}
    for _ in range(WARM_UPS + repeats):
        for name, model in models.items():
            if OUT_OF_MEMORY not in times[name]:
                times[name].append(model.measure("seconds", case))

    row: dict[str, Any] = {"ratio": None}
    for name, model in models.items():
        is_full = OUT_OF_MEMORY in times[name]
        row[f"{name}_ms"] = OUT_OF_MEMORY if is_full else quartiles(1e3 * t for t in times[name][WARM_UPS:])
        saved = model.measure("saved_bytes", case) if case.mode == "step" else None
        peak = model.measure("peak_bytes", case) if case.device == "cuda" else None
        for key, value in (("saved", saved), ("peak", peak)):
            row[f"{name}_{key}_mb"] = value / 1e6 if isinstance(value, int) else value
        row[f"{name}_loss"] = model.measure("loss", case)
    if OUT_OF_MEMORY not in (row["ours_ms"], row["theirs_ms"]):
        pairs = zip(times["ours"], times["theirs"], strict=True)
        row["ratio"] = quartiles([their / our for our, their in pairs][WARM_UPS:])
    return row


def quartiles(values: Iterable[float]) -> dict[str, float]:
    """Return the median and the quartiles, with linear interpolation."""
    data = torch.tensor(list(values), dtype=torch.float64)
    q1, median, q3 = data.quantile(data.new_tensor([0.25, 0.5, 0.75])).tolist()
    return {"q1": q1, "median": median, "q3": q3}


@lru_cache
def count_gflop(variant: str, height: int, width: int) -> float:
    """Return the GFLOP of our forward pass on one image; a multiply-add counts as two operations."""
    counter = FlopCounterMode(display=False)
    with torch.device("meta"), torch.no_grad(), counter:
        build_mvit(variant, attention="reference").eval()(torch.empty(1, 3, height, width))
    return counter.get_total_flops() / 1e9


def _settings(variant: str, case: Case) -> dict[str, Any]:
    gflop = count_gflop(variant, case.height, case.width) * case.batch
    return {
        "mode": case.mode,
        "size_hw": [case.height, case.width],
        "batch": case.batch,
        "dtype": case.dtype,
        # In the backward pass, each matrix product has two gradients, which are products of the same size.
        "gflop": 3 * gflop if case.mode == "step" else gflop,
    }
