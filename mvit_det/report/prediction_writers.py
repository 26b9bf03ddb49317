"""Writers of images and videos on which detections are drawn."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import av
import supervision as sv

from mvit_det.data.frame_sources import unused_name
from mvit_det.data.frames import Frame
from mvit_det.data.images import SUFFIXES
from mvit_det.data.videos import Video
from mvit_det.errors import RunError
from mvit_det.files import replaced_file
from mvit_det.report.drawing import RgbImage, write_image
from mvit_det.report.video_file import VideoFile

Draw = Callable[[Frame, sv.Detections], RgbImage]
MAX_WRITERS = 4  # threads that draw and write images
MAX_WAITING = 16  # images that wait to be written


class Writer:
    """Draws and writes images in other threads, all of which are written when the context ends.

    Args:
        write: function that draws and writes an image.
        num_threads: number of threads; with one, the images are written in their order.
    """

    def __init__(self, write: Callable[[Frame, sv.Detections], None], num_threads: int) -> None:
        self._write = write
        self._pending: deque[Future[None]] = deque()
        self._pool = ThreadPoolExecutor(num_threads)

    def __enter__(self) -> "Writer":
        return self

    def write(self, frame: Frame, detections: sv.Detections) -> None:
        """Draw and write an image soon. Raises the error of an earlier image, if there was one."""
        self._pending.append(self._pool.submit(self._write, frame, detections))
        while len(self._pending) > MAX_WAITING:
            self._pending.popleft().result()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown(cancel_futures=kind is not None)
        if kind is None:
            for future in self._pending:
                future.result()


def image_writer(folder: Path, names: Iterable[str], draw: Draw) -> Writer:
    """Return a writer of images, each in its own format, or as PNG if that is not possible.

    Args:
        folder: the folder of the drawn images.
        names: the names of all images; names with the added suffix ``.png`` differ from them.
        draw: function that returns a drawn image.
    """
    used, lock = set(names), threading.Lock()

    def png_name(name: str) -> str:
        with lock:
            unused = unused_name(PurePosixPath(f"{name}.png"), used)
            used.add(unused)
        return unused

    def write(frame: Frame, detections: sv.Detections) -> None:
        drawn = draw(frame, detections)
        if Path(frame.name).suffix.lower() in SUFFIXES:
            try:
                write_image(folder / frame.name, drawn)
                return
            except OSError as error:
                if error.errno:
                    raise  # otherwise, the image is too large for its format, such as JPEG
        write_image(folder / png_name(frame.name), drawn)

    return Writer(write, min(MAX_WRITERS, os.cpu_count() or 1))


@contextmanager
def video_writer(folder: Path, video: Video, draw: Draw) -> Iterator[Writer]:
    """Return a context with a writer of the frames of a video. The file is complete when the context ends.

    Raises:
        RunError: if the file cannot be written, in which case it does not exist.
    """
    path = folder / f"{Path(video.name).stem}.mp4"
    try:
        with replaced_file(path) as part:
            file = VideoFile(Path(part.name), video)
            with Writer(lambda frame, found: file.write(draw(frame, found), frame.time), 1) as writer:
                yield writer
            file.close()
    except av.FFmpegError as error:
        raise RunError(f"{path}: cannot be written: {error}") from None
