"""Small videos for tests."""

import struct
from fractions import Fraction

import av
import numpy as np


def shades(num_frames, height=48, width=64):
    """Frames of one gray value each, which rises by 8, with a white upper left quarter."""
    frames = [np.full((height, width, 3), 8 * number, np.uint8) for number in range(num_frames)]
    for frame in frames:
        frame[: height // 2, : width // 2] = 255
    return frames


def write_video(path, frames, *, rate=5, times=None, codec="mjpeg", audio_codec=None, num_seconds=None):
    """Write a video, with a sine wave of 440 Hz as its sound if ``audio_codec`` is not None.

    Args:
        path: the file, whose suffix names the format.
        frames: list of (H, W, 3) RGB.
        rate: frames per second.
        times: the time of each frame, seconds.
        codec: name of the video encoder.
        audio_codec: name of the audio encoder.
        num_seconds: duration of the sound; by default, that of the video.
    """
    with av.open(str(path), "w") as container:
        # A constant quality, so that equal images remain equal as frames.
        options = {"qmin": "2", "qmax": "2"} if codec == "mjpeg" else {}
        stream = container.add_stream(codec, rate, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000) if times else Fraction(1, rate)
        sound = audio_codec and container.add_stream(audio_codec, 44100, layout="mono")
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            time = times[number] if times else number / rate
            frame.time_base = stream.codec_context.time_base
            frame.pts = round(time / frame.time_base)
            container.mux(stream.encode(frame))
        if sound:
            num_samples = round(44100 * (num_seconds or len(frames) / rate))
            samples = np.sin(2 * np.pi * 440 * np.arange(num_samples) / 44100)
            wave = av.AudioFrame.from_ndarray(
                (samples * 10000).astype(np.int16)[None], format="s16", layout="mono"
            )
            wave.sample_rate, wave.pts = 44100, 0
            container.mux(sound.encode(wave))
            container.mux(sound.encode(None))
        container.mux(stream.encode(None))


def rotate_mp4(path):
    """Change the header of an MP4 file so that players rotate it by 90 degrees clockwise."""
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44
    one = 1 << 16
    content[matrix : matrix + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


def read_streams(path):
    """Return the frames of a video as (time, RGB), and its sound as (times of packets, samples), or None."""
    with av.open(str(path)) as container:
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return frames, None
        sound = [frame.to_ndarray() for frame in container.decode(audio=0)]
    return frames, np.concatenate(sound, axis=1)
