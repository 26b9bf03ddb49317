"""Reading and writing of JSON files."""

import gc
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mvit_det.errors import InputError
from mvit_det.files import write_file

CHECKSUM = "sha256"  # key of the checksum of a file's other keys


@contextmanager
def paused_garbage_collection() -> Iterator[None]:
    """Pause the cyclic garbage collector, which otherwise scans all objects again and again as they are made.

    A file of 450 MB is read in about half of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def read_json(path: Path, kind: type, expected: str) -> Any:
    """Return the contents of a JSON file, which is encoded in UTF-8, UTF-16 or UTF-32.

    Args:
        path: the file.
        kind: the required type of the contents.
        expected: a description of the required contents, for the error message.

    Raises:
        InputError: if the file cannot be read, is not JSON, or holds another type.
    """
    try:
        with paused_garbage_collection():
            data = json.loads(_read_text(path))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected a COCO-format JSON") from None
    except IsADirectoryError:
        raise InputError(f"{path}: cannot be read: is a folder; expected a JSON file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except json.JSONDecodeError as error:
        position = f"line {error.lineno}, column {error.colno}"
        raise InputError(f"{path}: is not JSON: {error.msg} at {position}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not JSON: {error}") from None
    if not isinstance(data, kind):
        raise InputError(f"{path}: holds a {type(data).__name__}; expected {expected}")
    return data


def _read_text(path: Path) -> str:
    contents = path.read_bytes()
    if not contents:
        raise ValueError("the file is empty")
    return contents.decode(json.detect_encoding(contents))


def write_json(path: Path, data: Any) -> None:
    """Write ``data`` as JSON. An interrupted write leaves an existing file unchanged.

    Raises:
        RunError: if the disk is full or cannot be written to.
    """
    write_file(path, json.dumps(data, allow_nan=False).encode())


def write_checked_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write ``data`` as JSON, with a checksum that :func:`read_checked_json` tests.

    Raises:
        RunError: if the disk is full or cannot be written to.
    """
    write_json(path, {**data, CHECKSUM: _checksum(data)})


def read_checked_json(path: Path) -> dict[str, Any]:
    """Return what :func:`write_checked_json` wrote. A file without a checksum is read too.

    Raises:
        InputError: if the file is missing, is not a JSON object, or was changed after it was written.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file")
    data: dict[str, Any] = read_json(path, dict, "a JSON object")
    if data.pop(CHECKSUM, None) not in (None, _checksum(data)):
        raise InputError(f"{path}: is damaged: its content does not match its checksum")
    return data


def _checksum(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
