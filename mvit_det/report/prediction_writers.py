"""Writers of images and videos on which detections are drawn."""

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import supervision as sv

from mvit_det.data.frames import Frame, Video
from mvit_det.data.images import SUFFIXES
from mvit_det.errors import RunError
from mvit_det.files import describe_space
from mvit_det.report.drawing import RgbImage, write_image

Draw = Callable[[Frame, sv.Detections], RgbImage]
MAX_WRITERS = 4  # threads that draw and write images
MAX_WAITING = 16  # images that wait to be written


class ImageWriter:
    """Draws and writes images in several threads."""

    def __init__(self, folder: Path, draw: Draw) -> None:
        self.folder, self.draw = folder, draw
        self.pending: deque[Future[None]] = deque()
        self.pool = ThreadPoolExecutor(min(MAX_WRITERS, os.cpu_count() or 1))

    def __enter__(self) -> "ImageWriter":
        return self

    def write(self, frame: Frame, detections: sv.Detections) -> None:
        self.pending.append(self.pool.submit(self._write, frame, detections))
        while len(self.pending) > MAX_WAITING:
            self.pending.popleft().result()

    def _write(self, frame: Frame, detections: sv.Detections) -> None:
        drawn, png = self.draw(frame, detections), self.folder / f"{frame.name}.png"
        if Path(frame.name).suffix.lower() not in SUFFIXES:
            write_image(png, drawn)
            return
        try:
            write_image(self.folder / frame.name, drawn)
        except OSError as error:
            if error.errno:
                raise
            write_image(png, drawn)  # the image is too large for its format, such as JPEG

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.pool.shutdown(cancel_futures=kind is not None)
        if kind is None:
            for future in self.pending:
                future.result()


class VideoWriter:
    """Draws and writes the frames of a video. An incomplete video is removed."""

    def __init__(self, folder: Path, video: Video, draw: Draw) -> None:
        self.path, self.draw = folder / f"{video.path.stem}.mp4", draw
        info = sv.VideoInfo(video.width, video.height, video.rate, video.num_frames or None)
        self.sink = sv.VideoSink(str(self.path), info)

    def __enter__(self) -> "VideoWriter":
        self.path.parent.mkdir(exist_ok=True)
        self.sink.__enter__()
        return self

    def write(self, frame: Frame, detections: sv.Detections) -> None:
        drawn = self.draw(frame, detections)
        self.sink.write_frame(np.ascontiguousarray(drawn[:, :, ::-1]))  # RGB to BGR

    def __exit__(self, *error: Any) -> None:
        self.sink.__exit__(*error)
        if error[0] is not None:
            self.path.unlink(missing_ok=True)
        elif not cv2.VideoCapture(str(self.path)).read()[0]:  # OpenCV does not report errors when it writes
            self.path.unlink(missing_ok=True)
            raise RunError(f"{self.path}: could not be written: {describe_space(self.path.parent)}")
