"""``mvit-det doctor``: check the installation."""

import argparse
import sys

HELP = "show what is installed, what works, and how to fix what does not"
EXAMPLE = "mvit-det doctor"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: the command has no arguments."""


def run() -> None:
    """Print the state of the installation; exit with status 1 if nothing works."""
    from mvit_det.cli.installation import check_installation

    if not check_installation():
        sys.exit(1)
