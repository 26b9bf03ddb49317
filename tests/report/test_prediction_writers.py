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


def test_a_video_is_complete_or_absent(tmp_path):
    write_video(tmp_path / "clip.avi", shades(6))
    for fails in (False, True):
        out = tmp_path / f"out{fails}"

        def draw_or_fail(frame, detections, fails=fails):
            if fails and frame.name.endswith("#4"):
                raise RunError("the fourth frame")
            return frame.image

        video = open_video(tmp_path / "clip.avi")

        def write_all(video=video, out=out, draw=draw_or_fail):
            with video_writer(out, video, draw) as writer:
                for frame in video.frames:
                    writer.write(frame, sv.Detections.empty())

        if fails:
            with pytest.raises(RunError, match="the fourth frame"):
                write_all()
            assert not list(out.iterdir())
        else:
            write_all()
            assert [path.name for path in out.iterdir()] == ["clip.mp4"]
            assert len(read_streams(out / "clip.mp4")[0]) == 6
