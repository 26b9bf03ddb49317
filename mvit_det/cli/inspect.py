"""``mvit-det inspect``: show what a file of weights contains."""

import argparse

HELP = "show what a file of weights contains"
EXAMPLE = "mvit-det inspect runs/demo/best.ckpt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("source", help="weights: a file, a URL or detectron2://...")


def run(source: str) -> None:
    """Print a summary of a file of weights."""
    from mvit_det.weights import local_file
    from mvit_det.weights.summary import inspect

    print(inspect(local_file(source)))
