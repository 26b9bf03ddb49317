"""The flags that both benchmarks have."""

import argparse
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from mvit_det.backbone.variants import VARIANTS
from mvit_det.benchmark.compare import WARM_UPS
from mvit_det.benchmark.machine import MATRIX_SIZE
from mvit_det.benchmark.measure import DTYPES
from mvit_det.errors import InputError, unknown_name


def add_common_flags(parser: argparse.ArgumentParser, modes: Sequence[str], repeats: int) -> None:
    """Add the flags that do not depend on what is compared.

    Args:
        parser: the flags are added to it.
        modes: the known modes.
        repeats: default of ``--repeats``.
    """
    add = parser.add_argument
    add("--batch", type=int, default=1, help="images per batch; default: %(default)s")
    known = f"dtypes: {', '.join(DTYPES)}; default: float32"
    add("--dtypes", nargs="+", default=["float32"], metavar="DTYPE", help=known)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    add("--device", default=device, help="cpu or cuda; default on this machine: %(default)s")
    known = f"modes: {', '.join(modes)}; default: all"
    add("--modes", nargs="+", default=list(modes), metavar="MODE", help=known)
    text = f"measurements of each model, after {WARM_UPS} warm-up runs; default: %(default)s"
    add("--repeats", type=int, default=repeats, help=text)
    add("--keep-freed-memory", action="store_true", help="make glibc keep freed memory, as training does")


def parse_variant(name: str) -> str:
    """Complete the name of a variant, which may lack ``"mvitv2_"``.

    Raises:
        InputError: if there is no such variant.
    """
    full_name = name if name.startswith("mvit") else f"mvitv2_{name}"
    if full_name not in VARIANTS:
        raise unknown_name("variant", full_name, VARIANTS)
    return full_name


def check_common_flags(args: argparse.Namespace, modes: Sequence[str]) -> None:
    """Check the flags of :func:`add_common_flags`.

    Raises:
        InputError: if a value cannot be used.
    """
    checks: list[tuple[str, Iterable[str], list[str]]] = [
        ("dtype", DTYPES, args.dtypes),
        ("mode", modes, args.modes),
        ("device", MATRIX_SIZE, [args.device]),
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


def parse_size(text: str) -> tuple[int, int]:
    """Parse ``"HxW"`` into (height, width) in pixels.

    Raises:
        InputError: if it is not of this form, or if a side is shorter than 32 px.
    """
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or min(int(match[1]), int(match[2])) < 32:
        raise InputError(f"size {text!r}: expected HxW with both at least 32 px, such as 800x1216")
    return int(match[1]), int(match[2])


def make_folder(path: Path) -> None:
    """Create the folder of ``--out``.

    Raises:
        InputError: if it cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {path}: cannot create the folder ({error.strerror})") from error
