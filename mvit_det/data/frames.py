"""Images of files and frames of videos, which are read ahead and grouped into batches."""

import os
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from mvit_det.data.images import SUFFIXES, read_image
from mvit_det.data.input_files import check_regular
from mvit_det.errors import ImageError, InputError

VIDEO_SUFFIXES = frozenset((".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"))
MAX_READERS = 4  # threads that read images
AHEAD = 8  # images that are read ahead
WAITING = 4  # how many batches may wait for an image of the same size, at most

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Frame:
    """An image file, or a frame of a video.

    Attributes:
        path: the file.
        name: path of an image relative to the folder that is read; for a frame of a video, the name of the
            file, ``#`` and the number of the frame, from 1.
        image: (H, W, 3) RGB.
    """

    path: Path
    name: str
    image: NDArray[np.uint8]


@dataclass(frozen=True)
class Video:
    """A video that is open.

    Attributes:
        path: the file.
        width: width of a frame, px.
        height: height of a frame, px.
        rate: frames per second; 25 if the file does not say.
        num_frames: number of frames that the file states; 0 if it does not say.
        frames: the frames, which can be read once.
    """

    path: Path
    width: int
    height: int
    rate: float
    num_frames: int
    frames: Iterator[Frame]


def is_video(path: Path) -> bool:
    """Return whether a path has the suffix of a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def find_images(sources: Iterable[Path]) -> dict[str, Path]:
    """Return name -> path of image files, and of the images in folders and the folders within them.

    The name is the path relative to the folder. If there are several sources, it is the path relative to the
    folder that contains them all. Images in a folder are sorted by name.

    Raises:
        InputError: if a source does not exist or is a folder without images, or if there is no source.
    """
    found: dict[Path, Path] = {}
    sources = list(sources)
    if not sources:
        raise InputError("no images: expected at least one")
    for source in sources:
        if not os.path.exists(source):
            raise InputError(f"{source}: no such file or folder")
        if source.is_dir():
            paths = [Path(folder, name) for folder, _, names in os.walk(source) for name in names]
            paths = sorted(path for path in paths if path.suffix.lower() in SUFFIXES)
            if not paths:
                raise InputError(f"{source}: contains no images; expected {', '.join(sorted(SUFFIXES))}")
        else:
            check_regular(source, "an image, a folder of images or a video")
            paths = [source]
        found |= {Path(os.path.abspath(path)): path for path in paths}
    root = sources[0] if len(sources) == 1 else os.path.commonpath([path.parent for path in found])
    if len(sources) == 1 and not sources[0].is_dir():
        root = sources[0].parent
    return {path.relative_to(os.path.abspath(root)).as_posix(): given for path, given in found.items()}


def read_frames(
    images: Mapping[str, Path], on_error: Callable[[ImageError], None] | None = None
) -> Iterator[Frame]:
    """Read image files in several threads, ahead of where they are used.

    Args:
        images: name -> path.
        on_error: function that is called for an image that cannot be read, which is then left out. By
            default, the error is raised.

    Raises:
        ImageError: for an image that cannot be read.
    """
    iterator = iter(images.items())
    pending: deque[tuple[str, Path, Future[NDArray[np.uint8]]]] = deque()
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


def _read(path: Path) -> NDArray[np.uint8]:
    return np.array(read_image(path))


def open_video(path: Path) -> Video:
    """Open a video. OpenCV rotates its frames as the file specifies.

    Raises:
        InputError: if the file does not exist or cannot be read.
    """
    if not path.exists():
        raise InputError(f"{path}: no such video")
    # Keeps FFmpeg from printing to stderr. OpenCV reads the variable when it opens the first video.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    capture = cv2.VideoCapture(str(path))
    is_read, first = capture.read()
    if not is_read:
        raise InputError(f"{path}: is not a video that OpenCV can read")
    height, width = first.shape[:2]
    rate = capture.get(cv2.CAP_PROP_FPS)
    return Video(
        path,
        width,
        height,
        rate if 1 <= rate <= 1000 else 25.0,
        max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT))),
        _frames(path, capture, first),
    )


def _frames(path: Path, capture: cv2.VideoCapture, first: Any) -> Iterator[Frame]:
    is_read, pixels = True, first
    for number in count(1):
        if not is_read:
            break
        yield Frame(path, f"{path.name}#{number}", np.ascontiguousarray(pixels[:, :, ::-1]))  # BGR to RGB
        is_read, pixels = capture.read()
    capture.release()


def apply_in_batches(
    function: Callable[[list[T]], list[R]],
    items: Iterable[T],
    batch_size: int,
    key: Callable[[T], Hashable],
) -> Iterator[tuple[T, R]]:
    """Apply a function to batches of items with the same key; yield each item with its result, in order.

    A result is yielded as soon as it and all earlier ones are known. Where keys alternate, batches may be
    smaller, so that no item waits for more than four batches of others.

    Args:
        function: function from a list of items to the list of their results.
        items: the items.
        batch_size: the largest number of items in a batch.
        key: function from an item to its key, such as the size of an image.
    """
    waiting: dict[Hashable, list[tuple[int, T]]] = {}  # key -> items without a result
    done: dict[int, tuple[T, R]] = {}
    first = 0  # the number of items that have been yielded

    def run(batch: list[tuple[int, T]]) -> Iterator[tuple[T, R]]:
        nonlocal first
        results = function([item for _, item in batch])
        for (index, item), result in zip(batch, results, strict=True):
            done[index] = item, result
        while first in done:
            yield done.pop(first)
            first += 1

    def oldest() -> Hashable:
        return min(waiting, key=lambda name: waiting[name][0][0])

    for index, item in enumerate(items):
        name = key(item)
        waiting.setdefault(name, []).append((index, item))
        if len(waiting[name]) == batch_size:
            yield from run(waiting.pop(name))
        elif index - first >= WAITING * batch_size:
            yield from run(waiting.pop(oldest()))
    while waiting:
        yield from run(waiting.pop(oldest()))
