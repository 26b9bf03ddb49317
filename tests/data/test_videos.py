"""Videos: the times, the rotation and the errors of their frames; and cameras."""

import os
from itertools import islice

import av
import numpy as np
import pytest

from mvit_det.data import videos
from mvit_det.data.videos import open_camera, open_video
from mvit_det.errors import ImageError, InputError
from tests.videos import rotate_mp4, shades, write_video


def test_frames_have_numbers_times_and_pixels(tmp_path):
    write_video(tmp_path / "clip.avi", shades(5), rate=5)
    video = open_video(tmp_path / "clip.avi")
    assert (video.width, video.height, video.rate, video.num_frames) == (64, 48, 5, 5)
    frames = list(video.frames)
    assert [frame.name for frame in frames] == [f"clip.avi#{number}" for number in range(1, 6)]
    assert [frame.time for frame in frames] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    for frame, expected in zip(frames, shades(5), strict=True):
        assert np.abs(frame.image.astype(int) - expected)[30:].max() <= 3


def test_a_variable_rate_is_kept(tmp_path):
    times = [0, 0.1, 0.5, 0.55, 1.25]
    write_video(tmp_path / "clip.mkv", shades(5), times=times)
    assert [frame.time for frame in open_video(tmp_path / "clip.mkv").frames] == pytest.approx(times)


def test_frames_are_turned_upright(tmp_path):
    path = tmp_path / "clip.mp4"
    write_video(path, shades(3), codec="libx264")
    rotate_mp4(path)
    video = open_video(path)
    assert (video.width, video.height) == (48, 64)
    frame = next(video.frames)
    assert frame.image.shape == (64, 48, 3)
    assert frame.image[:30, 26:].min() > 200  # the upper left quarter is now the upper right one
    assert frame.image[:, :22].max() < 50


def test_a_truncated_video_ends_early(tmp_path):
    path = tmp_path / "clip.avi"
    write_video(path, shades(20))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    video, frames = open_video(path), []
    assert video.num_frames == 20
    with pytest.raises(
        ImageError, match=r"clip\.avi: is damaged or truncated: it ends after \d\.\d of 4\.0 s"
    ):
        frames.extend(video.frames)
    assert 0 < len(frames) < 15


def test_a_video_with_frames_that_last_longer_is_not_truncated(tmp_path):
    times = [0.2 * number for number in range(10)]
    with av.open(str(tmp_path / "clip.avi"), "w") as container:  # an AVI file states 46 frames of 0.04 s
        stream = container.add_stream("mjpeg", 25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for pixels, time in zip(shades(10), times, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = round(time * 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    video = open_video(tmp_path / "clip.avi")
    assert video.num_frames == 46
    assert [frame.time for frame in video.frames] == pytest.approx(times)


def test_a_truncated_video_that_states_only_its_duration_ends_early(tmp_path):
    path = tmp_path / "clip.mkv"
    write_video(path, shades(20), audio_codec="mp3")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(
        ImageError, match=r"clip\.mkv: is damaged or truncated: it ends after \d\.\d of 4\.\d s"
    ):
        list(open_video(path).frames)


def test_a_video_whose_sound_is_longer_is_not_truncated(tmp_path):
    write_video(tmp_path / "clip.mkv", shades(5), audio_codec="mp3", num_seconds=3)
    assert len(list(open_video(tmp_path / "clip.mkv").frames)) == 5


def test_a_video_is_opened_again_after_its_check(tmp_path):
    path = tmp_path / "clip.avi"
    write_video(path, shades(5))
    numbers = []
    video = open_video(path, check=lambda video: numbers.append(len(list(video.frames))))
    assert numbers == [len(list(video.frames))] == [5]


def test_a_video_that_cannot_be_read_is_refused(tmp_path):
    path = tmp_path / "clip.mp4"
    write_video(path, shades(9), codec="libx264")
    path.write_bytes(path.read_bytes()[:1000])  # the header is at the end
    with pytest.raises(InputError, match=r"clip\.mp4: contains no video, or is truncated"):
        open_video(path)
    path.write_text("no video")
    with pytest.raises(InputError, match=r"clip\.mp4: is not a video that can be read: Invalid data found"):
        open_video(path)
    path.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/a.ts\n")  # a playlist, which is not followed
    with pytest.raises(InputError, match=r"clip\.mp4: "):
        open_video(path)
    with pytest.raises(InputError, match=r"none\.mp4: no such video"):
        open_video(tmp_path / "none.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(InputError, match="is a pipe, a socket or a device; expected a video"):
        open_video(tmp_path / "pipe.mp4")


def test_a_file_of_sound_is_no_video(tmp_path):
    write_video(tmp_path / "clip.mkv", shades(5), audio_codec="aac")
    with av.open(str(tmp_path / "sound.mkv"), "w") as output, av.open(str(tmp_path / "clip.mkv")) as source:
        stream = output.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    with pytest.raises(InputError, match=r"sound\.mkv: contains no video, or"):
        open_video(tmp_path / "sound.mkv")


def test_a_camera_yields_frames_without_end(monkeypatch):
    """FFmpeg's generator of test images takes the place of the camera's driver."""
    monkeypatch.setattr(videos, "CAMERA_DEVICE", "testsrc=size=64x48:rate=10[out{}]")
    monkeypatch.setattr(videos, "CAMERA_FORMAT", "lavfi")
    video = open_camera(0)
    assert (video.source, video.name, video.width, video.height) == ("camera:0", "camera0", 64, 48)
    assert video.num_frames is None
    frames = list(islice(video.frames, 12))
    assert [frame.name for frame in frames[:2]] == ["camera0#1", "camera0#2"]
    assert frames[11].time == pytest.approx(1.1)
