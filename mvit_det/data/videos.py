"""Videos and cameras, read with PyAV."""

import re
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from mvit_det.data.downloads import download
from mvit_det.data.frames import Frame, read_ahead
from mvit_det.data.input_files import check_regular
from mvit_det.errors import ImageError, InputError

VIDEO_SUFFIXES = frozenset((".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"))
CAMERA = re.compile(r"(?:camera:)?(\d{1,3})")
CAMERA_DEVICE, CAMERA_FORMAT = "/dev/video{}", "v4l2"
DEFAULT_RATE, MAX_RATE = 25.0, 1000.0  # frames per second
MAX_VIDEO_BYTES = 2**34  # of a video that is downloaded
MIN_PART = 0.95  # of the duration that a file states, which is often not exact


@dataclass(frozen=True)
class Video:
    """A video or a camera that is open.

    Attributes:
        source: the file, the URL, or the name of the camera, such as ``"camera:0"``.
        name: name of the file or the camera.
        file: the file that is read, which is a temporary one if the source is a URL; None for a camera.
        width: width of an upright frame, px.
        height: height of an upright frame, px.
        rate: frames per second on average; 25 if the file states none, or more than 1000.
        num_frames: number of frames that the file states, or that its duration implies; None if unknown.
        start: the time at which the file starts, which is 0 in :attr:`Frame.time`, seconds.
        frames: the frames, which can be read once. If the file is truncated, an ImageError follows the last
            frame that can be read.
    """

    source: Path | str
    name: str
    file: Path | None
    width: int
    height: int
    rate: float
    num_frames: int | None
    start: float
    frames: Iterator[Frame]


Check = Callable[[Video], None]  # is called with a video before it is opened again, for example to read it


def open_video(path: Path, check: Check | None = None) -> Video:
    """Open a video file. Its frames are rotated as the file specifies.

    Raises:
        InputError: if the file does not exist or cannot be read, or by ``check``.
    """
    if not path.exists():
        raise InputError(f"{path}: no such video")
    check_regular(path, "a video")
    return _open_file(path, path, path.name, check)


def download_video(url: str, name: str, check: Check | None = None) -> Video:
    """Download a video to a temporary file, which is removed with the returned object, and open it.

    Raises:
        InputError: if it cannot be downloaded or read, or by ``check``.
    """
    folder = tempfile.mkdtemp(prefix="mvit_det-")
    try:
        download(url, Path(folder, "video"), MAX_VIDEO_BYTES)
        video = _open_file(Path(folder, "video"), url, name, check)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(video, shutil.rmtree, folder, ignore_errors=True)
    return video


def open_camera(number: int) -> Video:
    """Open a camera.

    Args:
        number: the number of the device, 0 for the first camera.

    Raises:
        InputError: if there is no such camera, or if another program uses it.
    """
    device = CAMERA_DEVICE.format(number)
    return _open(device, f"camera:{number}", f"camera{number}", None, format=CAMERA_FORMAT)


def _open_file(path: Path, source: Path | str, name: str, check: Check | None) -> Video:
    if check is not None:
        check(_open_file(path, source, name, None))
    # "file:" and the list of protocols keep FFmpeg from opening anything else, whatever the file contains.
    return _open(f"file:{path}", source, name, path, options={"protocol_whitelist": "file"})


def _open(url: str, source: Path | str, name: str, file: Path | None, **options: Any) -> Video:
    expected = "a video that can be read" if file else "a camera that can be opened"
    try:
        container: Any = av.open(url, **options)
    except (av.FFmpegError, OSError) as error:
        raise InputError(f"{source}: is not {expected}: {error.strerror}") from None
    stream = container.streams.best("video")
    if stream is None:
        raise InputError(f"{source}: contains no video, or is truncated")
    stream.thread_type = "AUTO"
    images = _decode(container, stream, source)
    first = next(images, None)
    if first is None:
        raise InputError(f"{source}: contains no frame that can be read; it is damaged or truncated")
    rate = float(stream.average_rate or stream.guessed_rate or 0)
    rate = rate if 0 < rate <= MAX_RATE else DEFAULT_RATE
    height, width = first[1].shape[:2]
    start = (first[0] or 0.0) if container.start_time is None else container.start_time / av.time_base
    frames = _to_frames(chain([first], images), source, name, start, rate)
    num_frames = _count_frames(container, stream, rate) if file else None
    return Video(
        source, name, file, width, height, rate, num_frames, start, read_ahead(frames) if file else frames
    )


def _count_frames(container: Any, stream: Any, rate: float) -> int | None:
    if stream.frames > 0:
        return int(stream.frames)
    return round(container.duration / av.time_base * rate) if container.duration else None


def _decode(
    container: Any, stream: Any, source: Path | str
) -> Iterator[tuple[float | None, NDArray[np.uint8]]]:
    """Yield the time of each frame, if known, and its upright RGB pixels, in the size of the first frame.

    Raises:
        ImageError: at the end, if the file states a longer duration.
    """
    size, end = None, 0.0
    start, duration = ((value or 0) / av.time_base for value in (container.start_time, container.duration))
    if container.format.name == "avi" and stream.frames and stream.average_rate:
        # The duration would be estimated from the size of the file. In other formats, the number of frames
        # includes frames that are not shown.
        duration = stream.frames / float(stream.average_rate)
    with container:
        for packet in _demux(container, stream):
            try:
                frames = packet.decode() if packet.stream is stream else []
            except av.FFmpegError:  # a damaged packet
                continue
            if packet.pts is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base) - start)
            for frame in frames:
                size = size or (frame.width, frame.height)
                pixels = frame.reformat(*size, format="rgb24").to_ndarray()
                yield frame.time, np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))
    if end < MIN_PART * duration:
        raise ImageError(f"{source}: is damaged or truncated: it ends after {end:.1f} of {duration:.1f} s")


def _demux(container: Any, stream: Any) -> Iterator[Any]:
    """Yield the packets of a video stream, and those of the sound, which may be longer."""
    packets = container.demux(stream, *container.streams.audio)
    while True:
        try:
            yield next(packets)
        except (StopIteration, av.FFmpegError):  # the latter if the file is truncated
            return


def _to_frames(
    images: Iterator[tuple[float | None, NDArray[np.uint8]]],
    source: Path | str,
    name: str,
    start: float,
    rate: float,
) -> Iterator[Frame]:
    time = -1 / rate
    for number, (stated, image) in zip(count(1), images, strict=False):
        time = time + 1 / rate if stated is None else stated - start
        yield Frame(source, f"{name}#{number}", image, time)
