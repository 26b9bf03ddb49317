"""The exceptions for bad input and missing packages, and their messages in one line."""

import difflib
import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from mvit_det.dependencies import explain_missing_module


class InputError(ValueError):
    """The user gave a file, a folder, a name or a value that cannot be used.

    The message is one line that names the bad value and says what would be right. Commands print it without
    a traceback and exit with status 2; see :func:`one_line_errors`.
    """


class DependencyError(ImportError):
    """A package is missing, or is incompatible with other installed packages.

    The message is one line that names the cause and the command that fixes it.
    """


def printable(text: str, max_length: int = 1000) -> str:
    """Return a text as one line of at most ``max_length`` characters that can be printed anywhere.

    Characters that are not printable, such as those of a file name that is not UTF-8, are escaped.
    """
    if len(text) > max_length:
        text = f"{text[: max_length // 2 - 2]}...{text[-max_length // 2 + 2 :]}"
    if text.isprintable():
        return text
    text = " ".join(text.splitlines())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number and its noun, such as "1 image" or "2,000 images".

    ``plural`` is the plural of the noun; by default, it is the noun with an "s".
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def unknown_name(kind: str, name: object, known: Iterable[str]) -> InputError:
    """Return an error for a ``name`` that is not in ``known``. Its message suggests the closest one."""
    known = sorted(known)
    matches = difflib.get_close_matches(str(name).lower(), known, n=1, cutoff=0.4)
    hint = f"did you mean {matches[0]!r}? " if matches else ""
    return InputError(f"unknown {kind} {name!r}: {hint}expected one of {', '.join(known)}")


def out_of_memory_summary(error: Exception) -> str:
    """Return the part of a ``torch.OutOfMemoryError``'s message that names the needed and the free memory."""
    sizes, separator, _ = str(error).partition(" is free")
    return " ".join((sizes + separator).split())


@contextmanager
def one_line_errors(program: str | None = None) -> Iterator[None]:
    """Turn errors that the user can fix into one line on stderr and an exit status.

    The status is 2 for bad input and missing packages, and 1 for an interrupt. Other exceptions pass
    through with their traceback.

    Args:
        program: name at the start of the line; None uses the file name of the running script.

    Raises:
        SystemExit: in place of those exceptions.
    """
    program = program or Path(sys.argv[0]).name
    try:
        yield
    except (InputError, DependencyError) as error:
        message = str(error)
        if message.startswith("Caught InputError in DataLoader"):  # a traceback and the message follow
            message = message.rpartition(f"{InputError.__module__}.{InputError.__qualname__}: ")[2]
        _exit(f"{program}: error: {printable(message)}", 2)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("mvit_det"):  # a bug in this package
            raise
        _exit(f"{program}: error: {explain_missing_module(error)}", 2)
    except KeyboardInterrupt as interrupt:
        if multiprocessing.parent_process():  # the parent process prints the line
            raise
        _exit("; ".join(filter(None, (f"{program}: interrupted", str(interrupt)))), 1)
    except BrokenPipeError:  # the reader of our output, such as head(1), has exited
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _exit(line: str, status: int) -> NoReturn:
    sys.stderr.write(f"{line}\n")  # in one call, so that lines of several processes do not interleave
    sys.exit(status)
