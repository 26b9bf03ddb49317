"""Videos that are written: their codec, the times of their frames, their colors and their sound."""

import av
import numpy as np
import pytest

from mvit_det.data.videos import open_video
from mvit_det.report.video_file import VideoFile
from tests.videos import read_streams, shades, write_video


def copy_video(source, path):
    """Read a video, and write it again."""
    video = open_video(source)
    file = VideoFile(path, video)
    for frame in video.frames:
        file.write(frame.image, frame.time)
    file.close()


@pytest.mark.parametrize(
    ("name", "audio_codec", "expected"),
    [
        ("clip.mp4", "aac", "aac"),
        ("clip.mkv", "mp3", "mp3"),
        ("clip.avi", "pcm_s16le", "aac"),
        ("clip.avi", None, None),
    ],
)
def test_browsers_play_the_file_with_its_sound(tmp_path, name, audio_codec, expected):
    codec = "libx264" if name == "clip.mp4" else "mjpeg"
    write_video(tmp_path / name, shades(20), audio_codec=audio_codec, codec=codec)
    copy_video(tmp_path / name, tmp_path / "copy.mp4")
    with av.open(str(tmp_path / "copy.mp4")) as container:
        (stream,) = container.streams.video
        assert (stream.codec.canonical_name, stream.codec_context.format.name) == ("h264", "yuv420p")
        assert stream.average_rate == 5
        assert [stream.codec.canonical_name for stream in container.streams.audio] == [expected] * bool(
            expected
        )
    content = (tmp_path / "copy.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # the header comes first
    frames, sound = read_streams(tmp_path / "copy.mp4")
    assert [time for time, _ in frames] == pytest.approx([number / 5 for number in range(20)])
    if expected:
        spectrum = np.abs(np.fft.rfft(sound[0]))
        assert spectrum.argmax() * 44100 / sound.shape[1] == pytest.approx(440, abs=2)
        assert sound.shape[1] / 44100 == pytest.approx(4, abs=0.1)


def test_a_variable_rate_is_kept(tmp_path):
    times = [0, 0.1, 0.5, 0.55, 1.25]
    write_video(tmp_path / "clip.mkv", shades(5), times=times)
    copy_video(tmp_path / "clip.mkv", tmp_path / "copy.mp4")
    assert [time for time, _ in read_streams(tmp_path / "copy.mp4")[0]] == pytest.approx(times)


def test_colors_and_the_last_odd_row_and_column_are_kept(tmp_path):
    colors = [(255, 0, 0), (0, 255, 0), (30, 60, 200), (128, 128, 128)]
    write_video(tmp_path / "clip.avi", shades(1, 33, 65))
    video = open_video(tmp_path / "clip.avi")
    file = VideoFile(tmp_path / "copy.mp4", video)
    for number, color in enumerate(colors):
        image = np.full((video.height, video.width, 3), color, np.uint8)
        file.write(image, number / 5)
    file.close()
    frames, _ = read_streams(tmp_path / "copy.mp4")
    for (_, image), color in zip(frames, colors, strict=True):
        assert image.shape == (34, 66, 3)
        assert np.abs(image.astype(int) - color).max() <= 6
