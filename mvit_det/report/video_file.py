"""An MP4 file that browsers play, with the sound of the video that it was made from."""

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from mvit_det.data.videos import Video
from mvit_det.report.drawing import RgbImage
from mvit_det.report.video_sound import SoundCopy

CLOCK = 90_000  # ticks per second; frames at 24, 25, 29.97 and 30 per second last a whole number of ticks
BT709 = 1  # FFmpeg's number of these primaries, this transfer function and this matrix; and of limited range
# x264 compresses about as fast as images are drawn. Browsers start to play before they have the whole file.
OPTIONS, CONTAINER_OPTIONS = {"preset": "veryfast", "crf": "20"}, {"movflags": "+faststart"}


class VideoFile:
    """Writes an MP4 file with H.264, and with the sound of a video.

    The frames keep the times that they have in the source, so that a variable rate and the sound stay as they
    are. H.264 needs an even width and height; if necessary, the last column or row is repeated.

    Args:
        path: the file.
        video: the source of the sound, with the size and the rate of the frames.

    Raises:
        OSError: if the disk is full; also by the methods.
    """

    def __init__(self, path: Path, video: Video) -> None:
        self._container: Any = av.open(f"file:{path}", "w", format="mp4", container_options=CONTAINER_OPTIONS)
        self._padding = video.height % 2, video.width % 2
        rate = Fraction(video.rate).limit_denominator(1001)
        # FFmpeg chooses libx264 where it is built with it, as in PyAV's wheels, and else another encoder.
        self._stream = self._container.add_stream("h264", rate, options=OPTIONS)
        self._stream.height = video.height + self._padding[0]
        self._stream.width = video.width + self._padding[1]
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.time_base = Fraction(1, CLOCK)
        context.colorspace = context.color_primaries = context.color_trc = context.color_range = BT709
        self._tick, self._duration = -1, round(CLOCK / video.rate)
        self._sound: SoundCopy | None = None
        if video.file is not None:
            with suppress(av.FFmpegError, ValueError):  # no sound, or a codec that FFmpeg cannot read
                self._sound = SoundCopy(video.file, video.start, self._container)

    def write(self, image: RgbImage, time: float) -> None:
        """Write a frame that is shown from ``time`` on, in seconds since the start of the source."""
        if any(self._padding):
            image = np.pad(image, ((0, self._padding[0]), (0, self._padding[1]), (0, 0)), "edge")
        frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
            format="yuv420p", dst_colorspace="ITU709"
        )
        self._tick = max(round(time * CLOCK), self._tick + 1)  # the encoder requires that times increase
        frame.pts, frame.duration, frame.time_base = self._tick, self._duration, Fraction(1, CLOCK)
        self._container.mux(self._stream.encode(frame))
        if self._sound is not None:
            self._sound.write_until((self._tick + self._duration) / CLOCK)

    def close(self) -> None:
        """Write the frames that the encoder holds, and complete the file."""
        self._container.mux(self._stream.encode(None))
        if self._sound is not None:
            self._sound.close()
        self._container.close()
