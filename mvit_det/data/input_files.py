"""Reading of small input files as a whole, with a limit on their size."""

import os
import stat
from pathlib import Path

from mvit_det.errors import InputError, counted

MAX_TEXT_BYTES = 2**28  # of a text file, such as labels or a list of images


def check_regular(path: Path, expected: str) -> int:
    """Check that a path is a regular file. Opening a pipe could wait, and reading a device might not end.

    Args:
        path: the path. Symbolic links are followed.
        expected: what the file should be, for the error message.

    Returns:
        The number of bytes in the file.

    Raises:
        InputError: if it is anything else.
        FileNotFoundError: if it does not exist.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; expected {expected}") from None
    except ValueError as error:  # a null character, or one that is not Unicode
        raise InputError(f"{path}: is not the name of a file: {error}; expected {expected}") from None
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path}: is a folder; expected {expected}")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: is a pipe, a socket or a device; expected {expected}")
    return status.st_size


def read_limited(path: Path, expected: str, max_bytes: int = MAX_TEXT_BYTES) -> bytes:
    """Return the contents of a regular file of at most ``max_bytes`` bytes.

    Raises:
        InputError: if the file is larger, or is not a regular file; see :func:`check_regular`.
        OSError: if it cannot be read.
    """
    size = check_regular(path, expected)
    if size > max_bytes:
        raise InputError(f"{path}: has {counted(size, 'byte')}; expected {expected} of at most {max_bytes:,}")
    with path.open("rb") as file:
        return file.read(size)  # the file may grow in the meantime


def read_lines(path: Path, expected: str) -> list[str]:
    """Return the lines of a small text file in UTF-8. Bytes that are not UTF-8 are replaced.

    Raises:
        InputError: see :func:`read_limited`.
        OSError: if it cannot be read.
    """
    return read_limited(path, expected).decode("utf-8-sig", "replace").splitlines()
