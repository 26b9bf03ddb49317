"""The command line of ``tools/benchmark.py`` for backbones."""

import argparse
import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import torch

from mvit_det.backbone.mvit import build_mvit
from mvit_det.backbone.variants import VARIANTS
from mvit_det.benchmark.arguments import (
    add_common_flags,
    check_common_flags,
    make_folder,
    parse_size,
    parse_variant,
)
from mvit_det.benchmark.compare import compare_all
from mvit_det.benchmark.machine import describe_machine
from mvit_det.benchmark.measure import DTYPES, MODES
from mvit_det.benchmark.opponents import (
    PACKAGE_MODELS,
    import_package,
    open_opponent,
    parse_ours,
    variants_of,
)
from mvit_det.benchmark.output import header, plot, table_line
from mvit_det.errors import DependencyError, InputError
from mvit_det.ops.allocator import keep_freed_memory
from mvit_det.ops.attention import choose_implementation


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark: print the table and write the files.

    Args:
        argv: the command line without the program's name; None reads it from ``sys.argv``.

    Raises:
        InputError: if a flag has a value that cannot be used.
        DependencyError: if the package of an opponent is missing or cannot be imported.
    """
    args = parse(argv)
    if args.keep_freed_memory:
        keep_freed_memory()
    torch.manual_seed(0)
    machine = describe_machine(args.device, args.dtypes)
    settings = {key: getattr(args, key) for key in ("device", "repeats", "keep_freed_memory")}
    print(header(machine, settings), flush=True)
    rows = []
    for row in compare_all(args, machine["matrix_gflop_per_s"]):
        rows.append(row)
        print(table_line(row), flush=True)
        if args.out:  # after each row, because a long run may be stopped
            result = {"machine": machine, "settings": settings, "rows": rows}
            (args.out / "benchmark.json").write_text(json.dumps(result, indent=1) + "\n")
    if args.out and len(args.sizes) > 1:
        plot(rows, args.out / "benchmark.png")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the flags, and check them before anything is measured.

    Completes the names of variants, parses sizes to (height, width) in pixels, and creates the output folder.

    Raises:
        InputError: if a value cannot be used.
        DependencyError: if the package of an opponent is missing or cannot be imported.
    """
    args = _build_parser().parse_args(argv)
    args.variants = [parse_variant(name) for name in args.variants]
    check_common_flags(args, MODES)
    args.sizes = [parse_size(text) for text in args.sizes]
    args.against = args.against or _installed_opponents(args)
    for name in args.against:
        _check_opponent(name, args)
    if args.out:
        if len(args.sizes) > 1:
            import_module("matplotlib.figure")  # fails now if it is missing, not after the run
        make_folder(args.out)
    return args


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Compare time and memory of our backbone with other models, which run in turn."
    )
    add = parser.add_argument
    known = f"variants: {', '.join(VARIANTS)}; default: mvitv2_t"
    add("--variants", nargs="+", default=["mvitv2_t"], metavar="NAME", help=known)
    known = (
        f"models to compare with: {', '.join(PACKAGE_MODELS)}; our backbone with other keywords, such as "
        "ours:recompute=cheap or ours:attention=reference; or that of another checkout of this project, "
        "checkout:PATH or, with keywords, checkout:PATH,recompute=cheap; default: those of the first four "
        "that are installed"
    )
    add("--against", nargs="+", metavar="NAME", help=known)
    add("--sizes", nargs="+", default=["800x1216"], metavar="HxW", help="image sizes, px; default: 800x1216")
    add_common_flags(parser, MODES, repeats=7)
    out = "folder for benchmark.json and, with several sizes, benchmark.png"
    add("--out", type=Path, metavar="FOLDER", help=out)
    return parser


def _installed_opponents(args: argparse.Namespace) -> list[str]:
    installed = []
    for name in PACKAGE_MODELS:
        try:
            _check_opponent(name, args)
            installed.append(name)
        except (InputError, DependencyError) as error:
            print(f"skipped: {error}")
    if not installed:
        raise InputError("--against: no opponent is installed, expected a name such as ours:recompute=cheap")
    return installed


def _check_opponent(name: str, args: argparse.Namespace) -> None:
    if name.startswith("ours:"):
        keywords = parse_ours(name)
        with torch.device("meta"):
            build_mvit("mvitv2_nano", **keywords)
        for dtype in args.dtypes:
            choose_implementation(keywords.get("attention", "auto"), args.device, DTYPES[dtype])
    elif name.startswith("checkout:"):
        with open_opponent(name, "mvitv2_nano", build_mvit("mvitv2_nano")):
            pass
    else:
        import_package(name)
        known = variants_of(name)
        if not set(args.variants) & set(known):
            raise InputError(f"{name} has no {', '.join(args.variants)}: expected one of {', '.join(known)}")
