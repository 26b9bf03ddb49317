"""The check of the images of a folder. Images that have been read once are not read again."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

from mvit_det.data.images import CheckedImage, ImageSize, check_image
from mvit_det.data.jpeg_warnings import JpegReader
from mvit_det.data.json_files import write_json
from mvit_det.data.problem_kinds import KINDS
from mvit_det.errors import InputError, RunError

VERSION = 2  # increase it if accepted images may now be refused, or other warnings found

Record = list[Any]  # number of bytes and modification time of the file, and the values of a CheckedImage
JPEG_FORMATS = ("JPEG", "MPO")

# Yields the items of an iterable of the given length, and shows progress.
Track = Callable[[Iterable[Any], int], Iterable[Any]]


def read_images(folder: Path, names: Sequence[str], track: Track) -> list[CheckedImage | InputError]:
    """Read images with several threads, except those that have been read before and have not changed.

    Args:
        folder: the folder of the images.
        names: their paths relative to the folder.
        track: function from an iterable and its length to the same items, which shows progress.

    Returns:
        What was found in each image, or the error for an image that cannot be read.
    """
    cache = ImageCache(folder)
    readers = [
        JpegReader() for _ in range(max(1, (os.cpu_count() or 1) // 4))
    ]  # each is as fast as 4 threads

    def read(name: str, reader: JpegReader) -> CheckedImage | InputError:
        image = cache.find(name)
        if image is None:
            try:
                image = check_image(folder / name)
            except InputError as error:
                return error
            if image.format in JPEG_FORMATS:
                warning = reader.warning(folder / name)
                image = replace(image, warnings={"jpeg_warning": warning} if warning else {})
            cache.add(name, image)
        return image

    pool = ThreadPoolExecutor()
    try:
        return list(track(pool.map(read, names, cycle(readers)), len(names)))
    finally:
        pool.shutdown(cancel_futures=True)
        for reader in readers:
            reader.close()
        cache.save()  # what has been read before an interrupt need not be read again


class ImageCache:
    """What was found in the images of one folder that have been read.

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
        self._new: dict[str, Record] = {}

    def find(self, name: str) -> CheckedImage | None:
        """Return what was found in an image that has been read before and has not changed since."""
        known = self._known.get(name)
        if known is None:
            return None
        state = self._state(name)
        if state is None or known[:2] != state:
            return None
        return CheckedImage(ImageSize(*known[2:5]), *known[5:])

    def add(self, name: str, image: CheckedImage) -> None:
        """Record an image that has been read."""
        state = self._state(name)
        if state is not None:
            size = image.size
            found = [size.width, size.height, size.orientation, image.format, dict(image.warnings)]
            self._new[name] = [*state, *found]

    def save(self) -> None:
        """Write the new records, together with those that other processes have written."""
        if not self._new:
            return
        contents = {"version": VERSION, "folder": self._folder, "images": self._read() | self._new}
        with contextlib.suppress(OSError, InputError, RunError):
            write_json(self._path, contents)

    def _read(self) -> dict[str, Record]:
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


def _record(values: Record) -> Record:
    num_bytes, time, width, height, orientation, format_, warnings = values
    if not (type(num_bytes) is int and type(time) is int and 1 <= orientation <= 8):
        raise ValueError("a damaged record")
    if not (warnings.keys() <= KINDS.keys() and all(type(text) is str for text in warnings.values())):
        raise ValueError("a damaged record")
    return [num_bytes, time, int(width), int(height), int(orientation), str(format_), warnings]


def _cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(root):  # as the XDG specification says: relative paths are ignored
        root = os.path.join(os.path.expanduser("~"), ".cache")
    return Path(root, "mvit_det")
