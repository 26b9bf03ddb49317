"""Image files, read ahead in several threads, and the frames of videos."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mvit_det.data.images import SUFFIXES, read_image
from mvit_det.data.input_files import check_regular
from mvit_det.errors import ImageError, InputError

VIDEO_SUFFIXES = frozenset((".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"))
MAX_READERS = 4  # threads that read images
AHEAD = 8  # images that are read ahead


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
        rate: frames per second; 25 if the file states none, or more than 1000.
        num_frames: number of frames that the file states, or 0.
        frames: the frames, which can be read once.
    """

    path: Path
    width: int
    height: int
    rate: float
    num_frames: int
    frames: Iterator[Frame]


def find_video(sources: Sequence[Path]) -> Path | None:
    """Return the video if the only source is one, or None if the sources are images and folders.

    Raises:
        InputError: if one of several sources is a video.
    """
    for source in sources:
        if source.suffix.lower() in VIDEO_SUFFIXES and not source.is_dir():
            if len(sources) > 1:
                raise InputError(f"{source}: is a video, which must be the only source")
            return source
    return None


def find_images(sources: Sequence[Path], left_out: Path | None = None) -> dict[str, Path]:
    """Return name -> path of image files, and of the images in folders and their subfolders.

    The name is the path relative to the folder, or to the folder that contains all sources if there are
    several. Images in a folder are sorted by path. Hidden files and folders are left out.

    Args:
        sources: image files and folders.
        left_out: another folder that is left out.

    Raises:
        InputError: if a source does not exist or is a folder without images, or if there is no source.
    """
    if not sources:
        raise InputError("no images: expected at least one")
    paths: list[Path] = []
    for source in sources:
        if not os.path.exists(source):
            raise InputError(f"{source}: no such file or folder")
        if not source.is_dir():
            check_regular(source, "an image, a folder of images or a video")
            paths.append(source)
            continue
        images = sorted(_images_in(source, left_out))
        if not images:
            raise InputError(f"{source}: contains no images; expected {', '.join(sorted(SUFFIXES))}")
        paths += images
    folders = [source if source.is_dir() else source.parent for source in sources]
    root = os.path.commonpath([os.path.abspath(folder) for folder in folders])
    return {Path(os.path.relpath(path, root)).as_posix(): path for path in paths}


def _images_in(root: Path, left_out: Path | None) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [
            name
            for name in subfolders
            if not name.startswith(".")
            and (left_out is None or os.path.abspath(Path(folder, name)) != os.path.abspath(left_out))
        ]
        for name in names:
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                yield Path(folder, name)


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
    check_regular(path, "a video")
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
        rate if 0 < rate <= 1000 else 25.0,
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
