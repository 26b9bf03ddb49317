"""The files of a prediction when it ends early."""

import io
import json

import numpy as np
import pytest
import supervision as sv
from PIL import Image
from rich.console import Console

from mvit_det.data import videos
from mvit_det.errors import InputError
from mvit_det.report.predictions import PredictOptions, write_detections
from tests.videos import read_streams, shades, write_video


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


def detections():
    box = np.array([[1, 2, 11, 22]], float)
    return sv.Detections(box, confidence=np.array([0.9]), class_id=np.array([7]))


def detect_until(number, error):
    """Return a function that detects an object in each image, and raises an error at the image ``number``."""

    def detect(frames):
        for index, frame in enumerate(frames, start=1):
            if index == number:
                raise error
            yield frame, detections()

    return detect


def options(tmp_path, *sources, **more):
    return PredictOptions(sources=sources, checkpoint=tmp_path / "a.ckpt", out=tmp_path / "out", **more)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("out of memory")])
def test_what_was_detected_is_written(tmp_path, console, error):
    write_video(tmp_path / "clip.mkv", shades(9), audio_codec="mp3")
    with pytest.raises(type(error)):
        write_detections(
            options(tmp_path, str(tmp_path / "clip.mkv")), detect_until(7, error), {7: "cat"}, console
        )
    out = tmp_path / "out"
    images = json.loads((out / "images.json").read_text())
    assert [image["file_name"] for image in images["images"]] == [f"clip.mkv#{n}" for n in range(1, 7)]
    entries = json.loads((out / "detections.json").read_text())
    assert [entry["image_id"] for entry in entries] == [1, 2, 3, 4, 5, 6]
    assert entries[0]["bbox"] == [1, 2, 10, 20]
    frames, sound = read_streams(out / "pictures" / "clip.mp4")
    assert len(frames) == 6
    assert sound.shape[1] / 44100 == pytest.approx(6 / 5, abs=0.1)
    assert "wrote" in console.file.getvalue()


def test_nothing_is_drawn_without_pictures(tmp_path, console):
    write_video(tmp_path / "clip.mkv", shades(3))
    arguments = options(tmp_path, str(tmp_path / "clip.mkv"), pictures=False)
    write_detections(arguments, detect_until(9, KeyboardInterrupt()), {7: "cat"}, console)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["detections.json", "images.json"]
    assert len(json.loads((tmp_path / "out" / "detections.json").read_text())) == 3


def test_an_interrupt_is_the_end_of_a_camera(tmp_path, console, monkeypatch):
    monkeypatch.setattr(videos, "CAMERA_DEVICE", "testsrc=size=64x48:rate=10[out{}]")
    monkeypatch.setattr(videos, "CAMERA_FORMAT", "lavfi")
    detect = detect_until(7, KeyboardInterrupt())
    write_detections(options(tmp_path, "0"), detect, {7: "cat"}, console)
    images = json.loads((tmp_path / "out" / "images.json").read_text())["images"]
    assert [image["file_name"] for image in images] == [f"camera0#{n}" for n in range(1, 7)]
    assert len(read_streams(tmp_path / "out" / "pictures" / "camera0.mp4")[0]) == 6
    assert "on 6 frames" in console.file.getvalue()
    error = RuntimeError("out of memory")
    with pytest.raises(RuntimeError, match="out of memory"):
        write_detections(options(tmp_path, "0", overwrite=True), detect_until(7, error), {7: "cat"}, console)


def test_an_error_before_the_first_result_leaves_earlier_results(tmp_path, console):
    write_video(tmp_path / "clip.avi", shades(3))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "detections.json").write_text("earlier")
    arguments = options(tmp_path, tmp_path / "clip.avi", overwrite=True)
    with pytest.raises(RuntimeError, match="at once"):
        write_detections(arguments, detect_until(1, RuntimeError("at once")), {7: "cat"}, console)
    assert (tmp_path / "out" / "detections.json").read_text() == "earlier"


def test_a_strict_prediction_starts_when_all_images_can_be_read(tmp_path, console):
    for number in range(12):
        Image.new("RGB", (30, 30)).save(tmp_path / f"{number:02d}.png")
    (tmp_path / "11.png").write_bytes((tmp_path / "11.png").read_bytes()[:60])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "images.json").write_text("earlier")
    arguments = options(tmp_path, tmp_path, overwrite=True, strict=True)
    with pytest.raises(InputError, match=r"11\.png: is truncated or damaged"):
        write_detections(arguments, detect_until(99, None), {7: "cat"}, console)
    assert (tmp_path / "out" / "images.json").read_text() == "earlier"


def test_videos_in_folders_are_named(tmp_path, console):
    Image.new("RGB", (30, 30)).save(tmp_path / "a.png")
    write_video(tmp_path / "clip.avi", shades(3))
    write_detections(options(tmp_path, tmp_path), detect_until(99, None), {7: "cat"}, console)
    message = f"{tmp_path}/clip.avi: 1 video in folders left out; a video must be the only source"
    assert message in console.file.getvalue().splitlines()
