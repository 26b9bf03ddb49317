"""The entry point of ``mvit-det``: parses the command line and runs one subcommand."""

import argparse
import shlex
import sys
from collections.abc import Sequence

from mvit_det import __version__
from mvit_det.cli import check, convert, demo, doctor, download, eval, export, info, inspect, predict, train
from mvit_det.cli.parser import SuggestingParser
from mvit_det.engine.faults import explained_faults
from mvit_det.engine.interruption import interruptible
from mvit_det.errors import one_line_errors

# Each module has HELP, EXAMPLE, add_arguments(parser) and run(**options). Parsing imports only the standard
# library, so that --help is fast; run() imports what its command needs.
COMMANDS = {
    "demo": demo,
    "check": check,
    "train": train,
    "eval": eval,
    "predict": predict,
    "download": download,
    "convert": convert,
    "export": export,
    "inspect": inspect,
    "info": info,
    "doctor": doctor,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one subcommand.

    Args:
        arguments: the command line without the program's name; None reads it from ``sys.argv``.

    Raises:
        SystemExit: with status 2 for bad input, or 1 for an interrupt and a fault of the machine.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    options = vars(build_parser().parse_args(arguments))
    command = COMMANDS[options.pop("command")]
    resume = _resume_command(arguments) if "resume" in options else ""
    folder = options.get("out")
    with one_line_errors("mvit-det"), interruptible("mvit-det", resume), explained_faults(folder):
        command.run(**options)


def _resume_command(arguments: Sequence[str]) -> str:
    """Return the command that continues the run which these arguments start."""
    kept = [argument for argument in arguments if argument not in ("--overwrite", "--resume")]
    return shlex.join(["mvit-det", *kept, "--resume"])


def build_parser() -> argparse.ArgumentParser:
    """Return a parser of the command line, which stores the name of the subcommand in ``command``."""
    parser = argparse.ArgumentParser(
        "mvit-det", description="Train and run Faster, Mask and Cascade R-CNN with MViT backbones."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    subparsers = parser.add_subparsers(
        dest="command", required=True, metavar="command", parser_class=SuggestingParser
    )
    for name, module in COMMANDS.items():
        module.add_arguments(
            subparsers.add_parser(
                name,
                help=module.HELP,
                description=f"{module.HELP[0].upper()}{module.HELP[1:]}.",
                epilog=f"example:\n  {module.EXAMPLE}",
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
        )
    return parser
