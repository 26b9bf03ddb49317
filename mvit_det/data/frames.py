"""Image files, read ahead in several threads."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mvit_det.data.downloads import download
from mvit_det.data.images import read_image
from mvit_det.errors import ImageError, InputError

MAX_READERS = 4  # threads that read images
AHEAD = 8  # images that are read ahead
MAX_IMAGE_BYTES = 2**28  # of an image that is downloaded

T = TypeVar("T")


@dataclass(frozen=True)
class Frame:
    """An image file, or a frame of a video.

    Attributes:
        path: the file, or the URL of an image or a video.
        name: path of an image relative to the folder that is read; for a frame of a video, the name of the
            file, ``#`` and the number of the frame, from 1.
        image: (H, W, 3) RGB.
        time: for a frame of a video, the seconds since its start.
    """

    path: Path | str
    name: str
    image: NDArray[np.uint8]
    time: float = 0.0


def read_frames(
    images: Mapping[str, Path | str], on_error: Callable[[ImageError], None] | None = None
) -> Iterator[Frame]:
    """Read image files in several threads, ahead of where they are used.

    Args:
        images: name -> path or URL.
        on_error: function that is called for an image that cannot be read, which is then left out. By
            default, the error is raised.

    Raises:
        ImageError: for an image that cannot be read.
    """
    iterator = iter(images.items())
    pending: deque[tuple[str, Path | str, Future[NDArray[np.uint8]]]] = deque()
    pool = ThreadPoolExecutor(min(MAX_READERS, os.cpu_count() or 1))
    try:
        while True:
            for name, path in islice(iterator, AHEAD - len(pending)):
                pending.append((name, path, pool.submit(_read, path)))
            if not pending:
                return
            name, path, future = pending.popleft()
            try:
                image = future.result()
            except ImageError as error:
                if on_error is None:
                    raise
                on_error(error)
                continue
            yield Frame(path, name, image)
    finally:
        pool.shutdown(cancel_futures=True)


def report_errors(frames: Iterator[Frame], on_error: Callable[[ImageError], None] | None) -> Iterator[Frame]:
    """Yield the frames of a video. ``on_error`` is called with an ImageError that follows the last one.

    By default, the error is raised.
    """
    try:
        yield from frames
    except ImageError as error:
        if on_error is None:
            raise
        on_error(error)


def _read(source: Path | str) -> NDArray[np.uint8]:
    if isinstance(source, Path):
        return np.array(read_image(source))
    with TemporaryDirectory() as folder:
        path = Path(folder, "image")
        try:
            download(source, path, MAX_IMAGE_BYTES)
            return np.array(read_image(path))
        except InputError as error:
            raise ImageError(str(error).replace(str(path), source)) from None


def read_ahead(items: Iterator[T]) -> Iterator[T]:
    """Take items from an iterator in another thread, a few ahead of where they are used."""
    pending: deque[Future[list[T]]] = deque()
    pool = ThreadPoolExecutor(1)
    try:
        while True:
            while len(pending) < AHEAD:
                pending.append(pool.submit(lambda: list(islice(items, 1))))
            if not (item := pending.popleft().result()):
                return
            yield item[0]
    finally:
        pool.shutdown(cancel_futures=True)
