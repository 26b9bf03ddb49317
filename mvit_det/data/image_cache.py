"""Sizes of the images of a folder. Images that have been decoded once are not decoded again."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mvit_det.data.images import ImageSize, decode_size
from mvit_det.data.json_files import write_json
from mvit_det.errors import InputError, RunError

VERSION = 1  # increase it if an image that was accepted may be refused, or its size may be another


# Yields the items of an iterable of the given length, and shows progress.
Track = Callable[[Iterable[Any], int], Iterable[Any]]


def decode_sizes(folder: Path, names: Sequence[str], track: Track) -> list[ImageSize | InputError]:
    """Decode images with several threads, except those that have been read before and have not changed.

    Args:
        folder: the folder of the images.
        names: their paths relative to the folder.
        track: function from an iterable and its length to the same items, which shows progress.

    Returns:
        The size of each image, or the error for an image that cannot be read.
    """
    cache = ImageCache(folder)

    def read(name: str) -> ImageSize | InputError:
        size = cache.find(name)
        if size is None:
            try:
                size = decode_size(folder / name)
            except InputError as error:
                return error
            cache.add(name, size)
        return size

    pool = ThreadPoolExecutor()
    try:
        return list(track(pool.map(read, names), len(names)))
    finally:
        pool.shutdown(cancel_futures=True)
        cache.save()  # what has been read before an interrupt need not be read again


class ImageCache:
    """The sizes of the images of one folder that have been read.

    An image is found again if its path, its number of bytes and its time of change are the same. The record
    is in ``$XDG_CACHE_HOME/mvit_det`` or ``~/.cache/mvit_det``. If it cannot be read or written, the cache is
    empty. Several processes may use it at once.

    Args:
        folder: the folder of the images.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = os.path.abspath(folder)
        name = hashlib.sha256(os.fsencode(self._folder)).hexdigest()[:32]
        self._path = _cache_folder() / f"images-{name}.json"
        self._known = self._read()
        self._new: dict[str, list[int]] = {}

    def find(self, name: str) -> ImageSize | None:
        """Return the size of an image that has been read before and has not changed since."""
        known = self._known.get(name)
        if known is None:
            return None
        state = self._state(name)
        return ImageSize(*known[2:]) if state is not None and known[:2] == state else None

    def add(self, name: str, size: ImageSize) -> None:
        """Record an image that has been read."""
        state = self._state(name)
        if state is not None:
            self._new[name] = [*state, size.width, size.height, size.orientation]

    def save(self) -> None:
        """Write the new records, together with those that other processes have written."""
        if not self._new:
            return
        contents = {"version": VERSION, "folder": self._folder, "images": self._read() | self._new}
        with contextlib.suppress(OSError, InputError, RunError):
            write_json(self._path, contents)

    def _read(self) -> dict[str, list[int]]:
        try:
            contents = json.loads(self._path.read_bytes())
            if contents["version"] == VERSION and contents["folder"] == self._folder:
                return {name: _record(values) for name, values in contents["images"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # no cache, or a damaged one
            pass
        return {}

    def _state(self, name: str) -> list[int] | None:
        try:
            status = os.stat(os.path.join(self._folder, name))
        except (OSError, ValueError):
            return None
        return [status.st_size, status.st_mtime_ns]


def _record(values: list[int]) -> list[int]:
    num_bytes, time, width, height, orientation = values
    if not (type(num_bytes) is int and type(time) is int and 1 <= orientation <= 8):
        raise ValueError("a damaged record")
    return [num_bytes, time, int(width), int(height), int(orientation)]


def _cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(root):  # as the XDG specification says: relative paths are ignored
        root = os.path.join(os.path.expanduser("~"), ".cache")
    return Path(root, "mvit_det")
