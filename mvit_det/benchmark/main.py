"""Compares our backbone with others: the time of a run, and the memory that the backward pass needs.

Each repeat runs both models once, ours first. A ratio is their time over ours, the median over the repeats.
The share of the machine's matrix rate is given only for models that compute the same as ours.
timm's MViTv2 returns only the last feature map and runs at the 224 x 224 px of its pretraining; against it,
ours runs at that size too, with a batch of about the same total area.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import torch

from mvit_det.backbone.mvit import build_mvit
from mvit_det.backbone.variants import VARIANTS
from mvit_det.benchmark.compare import compare
from mvit_det.benchmark.flags import parse
from mvit_det.benchmark.flops import count_gflop
from mvit_det.benchmark.machine import describe_machine
from mvit_det.benchmark.measure import OUT_OF_MEMORY, Case, LocalSide
from mvit_det.benchmark.opponents import TIMM_SIDE, VARIANTS_OF, open_opponent
from mvit_det.benchmark.plot import plot
from mvit_det.benchmark.table import header, table_line
from mvit_det.ops.allocator import keep_freed_memory


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table, and write the files; ``argv`` holds the flags of ``tools/benchmark.py``."""
    args = parse(argv)
    if args.keep_freed_memory:
        keep_freed_memory()
    torch.manual_seed(0)
    machine = describe_machine(args.device, args.dtypes)
    settings = {key: getattr(args, key) for key in ("device", "repeats", "keep_freed_memory")}
    print(header(machine, settings), flush=True)
    rows = []
    for row in _rows(args, machine["matrix_gflop_per_s"]):
        rows.append(row)
        print(table_line(row), flush=True)
        if args.out:  # after each row, because a long run may be stopped
            result = {"machine": machine, "settings": settings, "rows": rows}
            (args.out / "benchmark.json").write_text(json.dumps(result, indent=1) + "\n")
    if args.out and len(args.sizes) > 1:
        plot(rows, args.out / "benchmark.png")


def _rows(args: argparse.Namespace, rates: dict[str, float]) -> Iterator[dict[str, Any]]:
    """Yield a row for each variant, opponent, dtype, mode and size; ``rates`` are in GFLOP/s, by dtype."""
    for variant in args.variants:
        model = build_mvit(variant, drop_path_rate=0.0).to(args.device)
        for name in args.against:
            if variant not in VARIANTS_OF.get(name, VARIANTS):
                continue
            shapes = [(args.batch, *size) for size in args.sizes]
            if name == "timm-mvitv2":
                areas = [batch * height * width for batch, height, width in shapes]
                shapes = [(max(1, round(area / TIMM_SIDE**2)), TIMM_SIDE, TIMM_SIDE) for area in areas]
            with open_opponent(name, variant, model, args.device, args.keep_freed_memory) as theirs:
                for dtype, mode, shape in product(args.dtypes, args.modes, dict.fromkeys(shapes)):
                    case = Case(mode, dtype, args.device, *shape)
                    row = {"variant": variant, "against": name, **_work(variant, case)}
                    row |= compare(LocalSide(model), theirs, case, args.repeats)
                    is_same = name == "detectron2-mvit" or name.startswith(("ours:", "checkout:"))
                    for side, is_counted in (("ours", True), ("theirs", is_same)):
                        ms = row[f"{side}_ms"]
                        share = None
                        if is_counted and ms != OUT_OF_MEMORY:
                            share = 1e3 * row["gflop"] / ms["median"] / rates[dtype]
                        row[f"{side}_share"] = share
                    yield row


def _work(variant: str, case: Case) -> dict[str, Any]:
    gflop = count_gflop(variant, case.height, case.width) * case.batch
    return {
        "mode": case.mode,
        "size_hw": [case.height, case.width],
        "batch": case.batch,
        "dtype": case.dtype,
        "gflop": 3 * gflop if case.mode == "step" else gflop,  # the backward pass has two products for one
    }
