"""The one exception for what a user gives and what cannot be used."""

import difflib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class InputError(ValueError):
    """A file, a folder, a name or a value from the user that cannot be used.

    The message is one line: it names the bad value and says what would be right.
    The command line prints it without a traceback and exits with status 2.
    """


def unknown_name(kind: str, name: object, known: Iterable[str]) -> InputError:
    """Return the error for a ``name`` that is not among the ``known`` ones, with the nearest of them."""
    known = sorted(known)
    near = difflib.get_close_matches(str(name).lower(), known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return InputError(f"unknown {kind} {name!r}: {hint}known are {', '.join(known)}")


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn an input error into one line on stderr and exit status 2: what a script runs in."""
    try:
        yield
    except (InputError, ImportError) as error:
        print(f"{Path(sys.argv[0]).name}: error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
