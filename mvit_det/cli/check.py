"""``mvit-det check``: find all problems of a data set, and show its statistics."""

import argparse
import sys
from pathlib import Path
from typing import Any

HELP = "find all problems of a data set, show its statistics, and draw samples"
EXAMPLE = "mvit-det check runs/demo/shapes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "data", type=Path, help="a folder in COCO, YOLO or Pascal VOC format, or a COCO-format JSON file"
    )
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="folder of the images of a JSON file; default: searched for in the folder of the file",
    )
    parser.add_argument(
        "--read-images",
        action="store_true",
        help="also read every image, and find images with the same contents; uses all CPU cores",
    )
    parser.add_argument(
        "--fix",
        type=Path,
        metavar="NAME.json",
        help="write what can be used as COCO-format JSON; one NAME.SPLIT.json for each of several splits",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/check"), help="folder for the report; default: %(default)s"
    )


def run(out: Path, fix: Path | None, **options: Any) -> None:
    """Check a data set; exit with status 1 if it cannot be used as it is."""
    from functools import partial

    from mvit_det.report.console import PlainConsole, print_line
    from mvit_det.report.dataset_report import CheckOptions, run_check
    from mvit_det.report.run_lock import run_lock

    warn = partial(print_line, PlainConsole(stderr=True))
    with run_lock(out, warn), run_lock(out if fix is None else fix.parent, warn):
        is_usable = run_check(CheckOptions(out=out, fix=fix, **options))
    if not is_usable:
        sys.exit(1)
