"""The exceptions for bad input and missing packages, and their messages in one line."""

import difflib
import errno
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


class ImageError(InputError):
    """An image file cannot be read, or does not have the size that its entry says.

    During a run, this means that the file was removed or changed after the check of all images.
    """


class RunError(RuntimeError):
    """A fault of the machine stops a run, such as a full disk or a process that was killed.

    The message is one line that names what failed and how to go on. Commands print it without a traceback and
    exit with status 1; see :func:`one_line_errors`.
    """


MAX_FAULT = 10_000  # characters of a RunError or an ImageError, which may contain a long command


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


def message_of(error: InputError) -> str:
    """Return the message of an error, without the traceback that torch prepends in a loading process."""
    message = str(error)
    if not message.startswith(f"Caught {type(error).__name__} in DataLoader"):
        return message
    return message.rpartition(f"{type(error).__module__}.{type(error).__qualname__}: ")[2].rstrip()


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


# Errors of the system that are due to the disk and not to a wrong name.
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO}


def find_disk_error(error: BaseException) -> OSError | None:
    """Return the error of the disk that led to an exception, or None.

    Libraries raise other exceptions in its place: the writer of torch.save, for example, a ``RuntimeError``.
    """
    return next((e for e in causes(error) if isinstance(e, OSError) and e.errno in DISK_ERRORS), None)


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those that led to it, as a traceback shows them, but in the opposite order."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


@contextmanager
def one_line_errors(program: str | None = None) -> Iterator[None]:
    """Turn errors that the user can fix into one line on stderr and an exit status.

    The status is 2 for bad input and missing packages, and 1 for a fault of the machine and an interrupt.
    Other exceptions pass through with their traceback.

    Args:
        program: name at the start of the line; None uses the file name of the running script.

    Raises:
        SystemExit: in place of those exceptions.
    """
    program = program or Path(sys.argv[0]).name
    try:
        yield
    except ImageError as error:
        _exit(f"{program}: error: {printable(message_of(error), MAX_FAULT)}", 2)
    except InputError as error:
        _exit(f"{program}: error: {printable(message_of(error))}", 2)
    except DependencyError as error:
        _exit(f"{program}: error: {printable(str(error))}", 2)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("mvit_det"):  # a bug in this package
            raise
        _exit(f"{program}: error: {explain_missing_module(error)}", 2)
    except KeyboardInterrupt as interrupt:
        if multiprocessing.parent_process():  # the parent process prints the line
            raise
        _exit("; ".join(filter(None, (f"{program}: interrupted", printable(str(interrupt), MAX_FAULT)))), 1)
    except RunError as error:
        _exit(f"{program}: error: {printable(str(error), MAX_FAULT)}", 1)
    except BrokenPipeError:  # the reader of our output, such as head(1), has exited
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        is_name = error.errno == errno.ENAMETOOLONG  # Path.exists raises it for a name that the user gave
        if error.errno not in DISK_ERRORS and not is_name:
            raise
        place = f"{error.filename}: " if error.filename else ""
        _exit(f"{program}: error: {printable(f'{place}{error.strerror}')}", 2 if is_name else 1)


def _exit(line: str, status: int) -> NoReturn:
    sys.stderr.write(f"{line}\n")  # in one call, so that lines of several processes do not interleave
    sys.exit(status)
