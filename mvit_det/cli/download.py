"""``mvit-det download``: fetch published weights."""

import argparse

from mvit_det.errors import InputError

HELP = "download published weights, and print where they are stored"
EXAMPLE = "mvit-det download mask_rcnn_mvitv2_t_3x"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "source",
        nargs="?",
        metavar="NAME",
        help="name of a published model, or a URL; a download that broke off is continued",
    )
    parser.add_argument(
        "--list", action="store_true", dest="is_list", help="print the names of the published models"
    )


def run(source: str | None, is_list: bool) -> None:
    """Download a file and print its path, or print the table of published models."""
    from mvit_det.weights import PUBLISHED, local_file

    if is_list == (source is not None):
        raise InputError("expected the name of a published model, a URL or --list")
    if source is not None:
        print(local_file(source))
        return
    rows = [("name", "parameters", "contents", "source")]
    rows += [(name, f"{m.parameters} M", m.contents, m.source) for name, m in PUBLISHED.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
