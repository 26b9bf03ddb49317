"""Our backbone against others: time, and memory that the backward pass needs, measured in turn.

Both sides run once in each repeat, ours first; a ratio is theirs over ours, the median over the repeats,
so that what slows the machine for a while slows both. The loss of a training step is the sum of the mean
squares of the outputs. Peak memory is told on a GPU alone: a CPU counts it for a whole process. The share
of the machine's matrix rate is told for the models that compute what ours computes.
timm's MViTv2 returns the last map only, and runs at the 224 x 224 px of its pretraining: so does ours
against it, with as many pictures as make up the area.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import torch

from mvit_det.backbone.mvit import build_mvit
from mvit_det.backbone.variants import VARIANTS
from mvit_det.benchmark.flags import parse
from mvit_det.benchmark.measure import OUT_OF_MEMORY, compare, count_gflop, describe_machine
from mvit_det.benchmark.others import TIMM_SIDE, VARIANTS_OF, Side, build_other
from mvit_det.benchmark.report import head, plot, table_line
from mvit_det.ops.allocator import keep_freed_memory


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table, and write it; ``argv`` is that of ``tools/benchmark.py``."""
    args = parse(argv)
    if args.keep_freed_memory:
        keep_freed_memory()
    torch.manual_seed(0)
    machine = describe_machine(args.device, args.dtypes)
    settings = {key: getattr(args, key) for key in ("device", "repeats", "keep_freed_memory")}
    print(head(machine, settings), flush=True)
    rows = []
    for row in _rows(args, machine["matrix_gflop_per_s"]):
        rows.append(row)
        print(table_line(row), flush=True)
        if args.out:  # after each row: a long run may be stopped
            result = {"machine": machine, "settings": settings, "rows": rows}
            (args.out / "benchmark.json").write_text(json.dumps(result, indent=1) + "\n")
    if args.out and len(args.sizes) > 1:
        plot(rows, args.out / "benchmark.png")


def _rows(args: argparse.Namespace, rates: dict[str, float]) -> Iterator[dict[str, Any]]:
    """Yield a row for each variant, opponent, dtype, mode and size; ``rates`` are in GFLOP/s, by dtype."""
    for variant in args.variants:
        model = build_mvit(variant, drop_path_rate=0.0).to(args.device)
        ours = Side(model, model)
        for who in args.against:
            if variant not in VARIANTS_OF.get(who, VARIANTS):
                continue
            shapes = [(args.batch, *size) for size in args.sizes]
            if who == "timm-mvitv2":
                areas = [batch * height * width for batch, height, width in shapes]
                shapes = [(max(1, round(area / TIMM_SIDE**2)), TIMM_SIDE, TIMM_SIDE) for area in areas]
            theirs = build_other(who, variant, model)
            theirs.module.to(args.device)
            for dtype, mode, shape in product(args.dtypes, args.modes, dict.fromkeys(shapes)):
                batch, height, width = shape
                images = torch.randn(batch, 3, height, width, device=args.device)
                gflop = count_gflop(variant, height, width) * batch * (3 if mode == "step" else 1)
                row = {"variant": variant, "against": who, "mode": mode, "size_hw": [height, width]}
                row |= {"batch": batch, "dtype": dtype, "gflop": gflop}
                row |= compare(ours, theirs, images, mode, dtype, args.repeats)
                is_same = who == "detectron2-mvit" or who.startswith("ours:")
                for name, is_told in (("ours", True), ("theirs", is_same)):
                    ms = row[f"{name}_ms"]
                    is_told &= ms != OUT_OF_MEMORY
                    row[f"{name}_share"] = 1e3 * gflop / ms["median"] / rates[dtype] if is_told else None
                yield row
