"""Copying of the sound of a video."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from mvit_det.errors import find_disk_error

COPIED = {"aac", "flac", "mp3", "opus"}  # codecs that browsers play in an MP4 file; others are encoded again
RATE = 48_000  # samples per second, if AAC does not have the rate of the source


class SoundCopy:
    """Copies the sound of a video into another file, piece by piece.

    Args:
        source: the video.
        start: the time in ``source`` that is 0 in the other file, seconds.
        output: the container of the other file, to which a stream is added.

    Raises:
        ValueError: if there is no sound, or none with a known codec.
        av.FFmpegError: if the sound cannot be read.
    """

    def __init__(self, source: Path, start: float, output: Any) -> None:
        self._input: Any = av.open(f"file:{source}", options={"protocol_whitelist": "file"})
        self._start, self._output = start, output
        if not self._input.streams.audio or self._input.streams.audio[0].codec_context is None:
            self._input.close()
            raise ValueError(f"{source}: has no sound that can be read")
        self._source = self._input.streams.audio[0]
        self._is_copied = self._source.codec.canonical_name in COPIED
        if self._is_copied:
            self._stream = output.add_stream_from_template(self._source)
        else:
            rate = self._source.codec_context.sample_rate
            rate = rate if rate in (av.Codec("aac", "w").audio_rates or ()) else RATE
            self._stream = output.add_stream("aac", rate)
            self._stream.layout = "mono" if self._source.codec_context.channels == 1 else "stereo"
        self._pieces = self._read()
        self._next = next(self._pieces, None)

    def write_until(self, time: float) -> None:
        """Copy the sound before ``time``, in seconds in the other file. Damaged sound ends early."""
        try:
            while self._next is not None and self._next[0] < time:
                piece = self._next[1]
                self._output.mux(piece if self._is_copied else self._stream.encode(piece))
                self._next = next(self._pieces, None)
        except av.FFmpegError as error:
            if find_disk_error(error) is not None:
                raise
            self._next = None

    def close(self) -> None:
        """Write the samples that the encoder holds, and close the source."""
        if not self._is_copied:
            self._output.mux(self._stream.encode(None))
        self._input.close()

    def _read(self) -> Iterator[tuple[float, Any]]:
        """Yield the time of each packet or decoded frame, and itself, until the sound ends or is damaged."""
        last = None
        try:
            for packet in self._input.demux(self._source):
                pieces = [packet] if self._is_copied else packet.decode()
                for piece in pieces:
                    if piece.pts is None or (last is not None and piece.pts <= last):
                        continue  # times must increase
                    last = piece.pts
                    time_base = Fraction(piece.time_base)
                    piece.pts -= round(self._start / time_base)
                    if self._is_copied:
                        piece.dts, piece.stream = piece.pts, self._stream
                    yield float(piece.pts * time_base), piece
        except av.FFmpegError:
            return
