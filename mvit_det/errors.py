"""The exceptions for what cannot be used, and the one line that a command or a script makes of them."""

import difflib
import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

EXTRA = "pip install '.[torchvision]' in the project's folder, for tools/ '.[detectron2]'"


class InputError(ValueError):
    """A file, a folder, a name or a value from the user that cannot be used.

    The message is one line: it names the bad value and says what would be right.
    The command line prints it without a traceback and exits with status 2.
    """


class DependencyError(ImportError):
    """A package that is missing, or that does not fit what else is installed.

    The message is one line: it names the cause and the line that mends it.
    """


def unknown_name(kind: str, name: object, known: Iterable[str]) -> InputError:
    """Return the error for a ``name`` that is not among the ``known`` ones, with the nearest of them."""
    known = sorted(known)
    near = difflib.get_close_matches(str(name).lower(), known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return InputError(f"unknown {kind} {name!r}: {hint}known are {', '.join(known)}")


def out_of_memory_summary(error: Exception) -> str:
    """Return how much memory was needed and how much was free, from an ``OutOfMemoryError`` of torch."""
    needed, mark, _ = str(error).partition(" is free")
    return " ".join((needed + mark).split())


@contextmanager
def one_line_errors(program: str | None = None) -> Iterator[None]:
    """Leave with one line on stderr, in place of a traceback, where the user can mend what is wrong.

    The exit status is 2 for bad input and for packages that are missing, 1 for an interrupt.

    Args:
        program: the name at the start of the line; None is the script's.
    """
    program = program or Path(sys.argv[0]).name
    try:
        yield
    except (InputError, DependencyError) as error:
        message = str(error)
        if message.startswith("Caught InputError in DataLoader"):  # and its traceback
            message = message.rpartition(f"{InputError.__module__}.{InputError.__qualname__}: ")[2]
        _leave(f"{program}: error: {' '.join(message.splitlines())}", 2)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("mvit_det"):  # ours to mend
            raise
        _leave(f"{program}: error: {error.name} is not installed: {EXTRA}", 2)
    except KeyboardInterrupt as interrupt:
        if multiprocessing.parent_process():  # which says it for all
            raise
        _leave("; ".join(filter(None, (f"{program}: interrupted", str(interrupt)))), 1)
    except BrokenPipeError:  # the reader of a pipe has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _leave(line: str, status: int) -> NoReturn:
    print(line, file=sys.stderr)
    sys.exit(status)
