"""The command-line flags of the benchmark, and the checks that are made before anything is measured."""

import argparse
import re
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path

import torch

from mvit_det.backbone.mvit import build_mvit
from mvit_det.backbone.variants import VARIANTS
from mvit_det.benchmark.compare import WARM_UPS
from mvit_det.benchmark.machine import MATRIX_SIDE
from mvit_det.benchmark.measure import DTYPES, MODES
from mvit_det.benchmark.opponents import MODULES, VARIANTS_OF, import_package, open_opponent, our_keywords
from mvit_det.errors import DependencyError, InputError, unknown_name
from mvit_det.ops.attention import choose_implementation


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse and check the flags.

    Completes the names of variants, parses sizes to (height, width) in pixels, and creates the output folder.

    Raises:
        InputError: if a value cannot be used.
        DependencyError: if the package of an opponent is missing or cannot be imported.
    """
    args = _build_parser().parse_args(argv)
    args.variants = [name if name.startswith("mvit") else f"mvitv2_{name}" for name in args.variants]
    checks: list[tuple[str, Iterable[str], list[str]]] = [
        ("variant", VARIANTS, args.variants),
        ("dtype", DTYPES, args.dtypes),
        ("mode", MODES, args.modes),
        ("device", MATRIX_SIDE, [args.device]),
    ]
    for kind, known, values in checks:
        for value in values:
            if value not in known:
                raise unknown_name(kind, value, known)
    if args.device == "cuda" and not torch.cuda.is_available():
        raise InputError("device 'cuda': torch finds no GPU, expected cpu")
    if args.device == "cpu" and "fp16" in args.dtypes:
        raise InputError("dtype 'fp16': runs on cuda only, expected float32 or bf16")
    for flag, number in (("batch", args.batch), ("repeats", args.repeats)):
        if number < 1:
            raise InputError(f"--{flag} {number}: must be at least 1")
    args.sizes = [_parse_size(text) for text in args.sizes]
    args.against = args.against or _installed_opponents(args)
    for name in args.against:
        _check_opponent(name, args)
    if args.out:
        if len(args.sizes) > 1:
            import_module("matplotlib.figure")  # fails now if it is missing, not after the run
        try:
            args.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--out {args.out}: cannot create the folder ({error.strerror})") from error
    return args


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Compare time and memory of our backbone with others, measured in turn in one run."
    )
    add = parser.add_argument
    known = f"variants: {', '.join(VARIANTS)}; default: mvitv2_t"
    add("--variants", nargs="+", default=["mvitv2_t"], metavar="NAME", help=known)
    known = (
        f"opponents: {', '.join(MODULES)}; our backbone with other keywords, such as ours:recompute=cheap or "
        "ours:attention=reference; or that of another checkout of this project, checkout:PATH, also with "
        "keywords: checkout:PATH,recompute=cheap; default: the first four, as far as they are installed"
    )
    add("--against", nargs="+", metavar="NAME", help=known)
    add("--sizes", nargs="+", default=["800x1216"], metavar="HxW", help="image sizes, px; default: 800x1216")
    add("--batch", type=int, default=1, help="images per batch; default: %(default)s")
    known = f"dtypes: {', '.join(DTYPES)}; default: float32"
    add("--dtypes", nargs="+", default=["float32"], metavar="DTYPE", help=known)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    add("--device", default=device, help="cpu or cuda; default on this machine: %(default)s")
    known = f"modes: {', '.join(MODES)}; default: all"
    add("--modes", nargs="+", default=list(MODES), metavar="MODE", help=known)
    repeats = f"measurements of each model, after {WARM_UPS} warm-up runs; default: %(default)s"
    add("--repeats", type=int, default=7, help=repeats)
    add("--keep-freed-memory", action="store_true", help="make glibc keep freed memory, as training does")
    out = "folder for benchmark.json and, with several sizes, benchmark.png"
    add("--out", type=Path, metavar="FOLDER", help=out)
    return parser


def _installed_opponents(args: argparse.Namespace) -> list[str]:
    installed = []
    for name in MODULES:
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
        keywords = our_keywords(name)
        with torch.device("meta"):
            build_mvit("mvitv2_nano", **keywords)
        for dtype in args.dtypes:
            choose_implementation(keywords.get("attention", "auto"), args.device, DTYPES[dtype])
    elif name.startswith("checkout:"):
        with open_opponent(name, "mvitv2_nano", build_mvit("mvitv2_nano")):
            pass
    else:
        import_package(name)
        known = VARIANTS_OF.get(name, VARIANTS)
        if not set(args.variants) & set(known):
            raise InputError(f"{name} has no {', '.join(args.variants)}: expected one of {', '.join(known)}")


def _parse_size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or min(int(match[1]), int(match[2])) < 32:
        raise InputError(f"size {text!r}: expected HxW with both at least 32 px, such as 800x1216")
    return int(match[1]), int(match[2])
