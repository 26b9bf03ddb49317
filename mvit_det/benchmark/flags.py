"""The flags of the benchmark, and what is checked of them before anything runs."""

import argparse
import re
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path

import torch

from mvit_det.backbone.mvit import build_mvit
from mvit_det.backbone.variants import VARIANTS
from mvit_det.benchmark.measure import DTYPES, MATRIX_SIDE, MODES, WARM_UPS
from mvit_det.benchmark.others import MODULES, VARIANTS_OF, load, our_keywords
from mvit_det.errors import DependencyError, InputError, unknown_name
from mvit_det.ops.attention import choose_implementation


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the flags, checked: whole names of variants, sizes as (H, W) in px, a folder that is there.

    Raises:
        InputError: if a value cannot be used.
        DependencyError: if a model is asked for whose package is missing or cannot be used.
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
        raise InputError("device 'cuda': torch finds no GPU here, expected cpu")
    if args.device == "cpu" and "fp16" in args.dtypes:
        raise InputError("dtype 'fp16': runs on cuda only, expected float32 or bf16")
    for flag, number in (("batch", args.batch), ("repeats", args.repeats)):
        if number < 1:
            raise InputError(f"--{flag} {number}: must be at least 1")
    args.sizes = [_size_hw(text) for text in args.sizes]
    args.against = args.against or _usable(args)
    for who in args.against:
        _check_against(who, args)
    if args.out:
        if len(args.sizes) > 1:
            import_module("matplotlib.figure")  # it would be missed after the run
        try:
            args.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--out {args.out}: cannot be made a folder ({error.strerror})") from error
    return args


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Time and memory of our backbone against others, measured in turn in one run."
    )
    add = parser.add_argument
    names = f"some of {', '.join(VARIANTS)}; default: mvitv2_t"
    add("--variants", nargs="+", default=["mvitv2_t"], metavar="NAME", help=names)
    names = f"some of {', '.join(MODULES)}, ours:recompute=cheap, ours:attention=reference and such"
    add("--against", nargs="+", metavar="NAME", help=f"{names}; default: the first four, if installed")
    add("--sizes", nargs="+", default=["800x1216"], metavar="HxW", help="of a picture, px; default: 800x1216")
    add("--batch", type=int, default=1, help="pictures at once; default: %(default)s")
    names = f"some of {', '.join(DTYPES)}; default: float32"
    add("--dtypes", nargs="+", default=["float32"], metavar="DTYPE", help=names)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    add("--device", default=device, help="cpu or cuda; default here: %(default)s")
    names = f"some of {', '.join(MODES)}; default: all"
    add("--modes", nargs="+", default=list(MODES), metavar="MODE", help=names)
    add("--repeats", type=int, default=7, help=f"after {WARM_UPS} warm-ups; default: %(default)s")
    add("--keep-freed-memory", action="store_true", help="ask glibc to keep freed memory, as training does")
    add("--out", type=Path, metavar="FOLDER", help="for benchmark.json and, of several sizes, benchmark.png")
    return parser


def _usable(args: argparse.Namespace) -> list[str]:
    usable = []
    for who in MODULES:
        try:
            _check_against(who, args)
            usable.append(who)
        except (InputError, DependencyError) as error:
            print(f"left out: {error}")
    if not usable:
        raise InputError("--against: none of the packages is there, expected ours:recompute=cheap or such")
    return usable


def _check_against(who: str, args: argparse.Namespace) -> None:
    if who.startswith("ours:"):
        keywords = our_keywords(who)
        with torch.device("meta"):
            build_mvit("mvitv2_nano", **keywords)
        for dtype in args.dtypes:
            choose_implementation(keywords.get("attention", "auto"), args.device, DTYPES[dtype])
    else:
        load(who)
        known = VARIANTS_OF.get(who, VARIANTS)
        if not set(args.variants) & set(known):
            raise InputError(f"{who} has no {', '.join(args.variants)}: expected some of {', '.join(known)}")


def _size_hw(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if not found or min(int(found[1]), int(found[2])) < 32:
        raise InputError(f"size {text!r}: expected HxW with both at least 32 px, such as 800x1216")
    return int(found[1]), int(found[2])
