"""Writing of images on which detections are drawn."""

import numpy as np
import pytest
import supervision as sv
from PIL import Image

from mvit_det.data.frames import Frame
from mvit_det.data.videos import open_video
from mvit_det.errors import RunError
from mvit_det.report.prediction_writers import image_writer, video_writer
from tests.videos import read_streams, shades, write_video


def draw(frame, detections):
    return frame.image


def frame(name, value):
    return Frame(name, name, np.full((4, 5, 3), value, np.uint8))


def test_images_have_names_of_their_own(tmp_path):
    names = ["a.tga", "a.tga.png", "a.tga.png-2.png", "a.tga-2.png"]
    with image_writer(tmp_path, names, draw) as writer:
        for value, name in enumerate(names):
            writer.write(frame(name, value), sv.Detections.empty())
    values = {path.name: int(np.asarray(Image.open(path))[0, 0, 0]) for path in tmp_path.iterdir()}
    assert values == {"a.tga.png": 1, "a.tga.png-2.png": 2, "a.tga-2.png": 3, "a.tga-3.png": 0}


def test_an_image_that_cannot_be_written_is_an_error_once(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is a file"), image_writer(tmp_path / "file", [], draw) as writer:
        writer.write(frame("a.png", 0), sv.Detections.empty())


def write_clip(tmp_path, draw):
    """Write a video of six frames again, as ``tmp_path/out/clip.mp4``."""
    write_video(tmp_path / "clip.avi", shades(6))
    video = open_video(tmp_path / "clip.avi")
    with video_writer(tmp_path / "out", video, draw) as writer:
        for frame in video.frames:
            writer.write(frame, sv.Detections.empty())


def test_a_video_is_complete(tmp_path):
    write_clip(tmp_path, draw)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["clip.mp4"]
    assert len(read_streams(tmp_path / "out" / "clip.mp4")[0]) == 6


def test_a_video_is_absent_after_an_error(tmp_path):
    def fail_at_the_fourth(frame, detections):
        if frame.name.endswith("#4"):
            raise RunError("the fourth frame")
        return frame.image

    with pytest.raises(RunError, match="the fourth frame"):
        write_clip(tmp_path, fail_at_the_fourth)
    assert not list((tmp_path / "out").iterdir())
