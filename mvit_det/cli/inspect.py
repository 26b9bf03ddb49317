"""``mvit-det inspect``: show the contents of a weight file."""

import argparse

HELP = "show the contents of a weight file"
EXAMPLE = "mvit-det inspect runs/demo/best.ckpt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "source", help="weights: a file, the folder of a run, a URL or the name of a published model"
    )


def run(source: str) -> None:
    """Print a summary of a weight file."""
    from mvit_det.report.run_folder import find_checkpoint
    from mvit_det.weights import local_file
    from mvit_det.weights.summary import inspect

    print(inspect(find_checkpoint(local_file(source))))
