"""Reading and writing of JSON files."""

import gc
import json
import math
import mmap
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mvit_det.data.input_files import check_regular, read_limited
from mvit_det.errors import InputError
from mvit_det.files import replaced_file, write_file

MAX_BYTES = 2**32  # of a JSON file; the largest public data sets have files of some 2 GB
MAX_DEPTH = 64  # levels of nested lists and objects; COCO's format has 5

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BRACKETS = b"[]{}"
_OTHERS = bytes(byte for byte in range(256) if byte not in _BRACKETS)

UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")  # byte-order marks


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
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected a COCO-format JSON") from None
    except MemoryError:
        raise InputError(f"{path}: is too large for the memory of this machine") from None
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
    contents = read_limited(path, "a JSON file", MAX_BYTES)
    if not contents:
        raise ValueError("the file is empty")
    encoding = json.detect_encoding(contents)
    text = contents.decode(encoding)
    _check_depth(contents if encoding.startswith("utf-8") else text.encode("utf-8", "replace"))
    return text


def _check_depth(contents: bytes) -> None:
    """Raise an error if lists and objects are nested too deeply for recursive functions."""
    if _depth(contents) > MAX_DEPTH and (depth := _depth(_STRING.sub(b"", contents))) > MAX_DEPTH:
        raise ValueError(f"lists and objects are nested {depth} levels deep; expected at most {MAX_DEPTH}")


def _depth(contents: bytes) -> int:
    """Return the largest number of brackets that are open at once, those in strings included."""
    brackets = np.frombuffer(contents.translate(None, delete=_OTHERS), np.uint8)
    opened = (brackets == ord("[")) | (brackets == ord("{"))
    depth, deepest = 0, 0
    for block in np.array_split(opened, len(opened) // 2**24 + 1):
        depths = depth + np.cumsum(np.where(block, 1, -1))
        if len(depths):
            depth, deepest = int(depths[-1]), max(deepest, int(depths.max()))
    return deepest


@contextmanager
def mapped_json(path: Path) -> Iterator[mmap.mmap | bytearray]:
    """Return a context with the bytes of a JSON file, mapped into memory; UTF-16 is converted to UTF-8."""
    check_regular(path, "a JSON file")
    with path.open("rb") as file:
        start = file.read(2)
        if start in UTF16_MARKS or not start:  # an empty file cannot be mapped
            yield bytearray((start + file.read()).decode("utf-16", "replace").encode())
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            yield content


def write_json(path: Path, data: Any) -> None:
    """Write ``data`` as JSON, with null for numbers that are not finite.

    An interrupted write leaves an existing file unchanged.

    Raises:
        RunError: if the disk is full or cannot be written to.
    """
    write_file(path, _to_bytes(data))


@contextmanager
def growing_json_list(path: Path, fields: Mapping[str, Any] | None = None) -> Iterator[Callable[[Any], None]]:
    """Return a context with a function that appends an item to a JSON list, which is not kept in memory.

    The file is complete when the context ends; see :func:`mvit_det.files.replaced_file`.

    Args:
        path: the file to write.
        fields: other fields of an object, of which the list is the last one. Its value must be an empty list.
            None: the file contains only the list.

    Raises:
        RunError: if the disk is full or cannot be written to.
    """
    start = _to_bytes(fields or [])
    end = start[-1:] if fields is None else start[-2:]
    with replaced_file(path) as file:
        file.write(start[: -len(end)])
        separator = b""

        def append(item: Any) -> None:
            nonlocal separator
            file.write(separator + _to_bytes(item))
            separator = b", "

        yield append
        file.write(end)


def _to_bytes(data: Any) -> bytes:
    try:
        return json.dumps(data, allow_nan=False).encode()
    except ValueError:  # a field of a data set that is only passed on may be NaN, which JSON does not have
        return json.dumps(_with_nulls(data), allow_nan=False).encode()


def _with_nulls(value: Any) -> Any:
    """Return ``value`` with None in place of numbers that are not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _with_nulls(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_nulls(item) for item in value]
    return value
