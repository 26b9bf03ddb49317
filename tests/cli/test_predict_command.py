import json
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from tests.cli.commands import assert_rejected, file_contents, run_command
from tests.videos import read_streams, write_video

pytestmark = pytest.mark.slow


@pytest.fixture
def frames():
    return np.random.default_rng(0).integers(0, 256, (3, 64, 96, 3), np.uint8)


def predict(trained, source, out):
    """Predict with every score; return the index of images.json, with the detections loaded into it."""
    run_command("predict", source, "--checkpoint", trained / "last.ckpt", "--out", out, "--score", 0)
    coco = COCO(out / "images.json")
    if json.loads((out / "detections.json").read_text()):
        coco.loadRes(str(out / "detections.json"))
    return coco


def picture_names(out):
    return sorted(path.name for path in (out / "pictures").iterdir())


def test_a_folder_of_images(trained, frames, tmp_path):
    (tmp_path / "photos").mkdir()
    Image.fromarray(frames[0]).save(tmp_path / "photos" / "b.png")
    Image.fromarray(frames[1, :, :, 0]).save(tmp_path / "photos" / "a.jpg")
    coco = predict(trained, tmp_path / "photos", tmp_path / "out")
    assert picture_names(tmp_path / "out") == ["a.jpg", "b.png"]
    assert [image["file_name"] for image in coco.imgs.values()] == ["a.jpg", "b.png"]


def test_an_image(trained, frames, tmp_path):
    Image.fromarray(frames[0]).save(tmp_path / "b.png")
    coco = predict(trained, tmp_path / "b.png", tmp_path / "out")
    assert [(image["width"], image["height"]) for image in coco.imgs.values()] == [(96, 64)]
    assert picture_names(tmp_path / "out") == ["b.png"]
    assert Image.open(tmp_path / "out" / "pictures" / "b.png").size == (96, 64)


def test_a_video(trained, frames, tmp_path):
    write_video(tmp_path / "clip.avi", frames)
    coco = predict(trained, tmp_path / "clip.avi", tmp_path / "out")
    assert [image["file_name"] for image in coco.imgs.values()] == ["clip.avi#1", "clip.avi#2", "clip.avi#3"]
    assert picture_names(tmp_path / "out") == ["clip.mp4"]
    written, _ = read_streams(tmp_path / "out" / "pictures" / "clip.mp4")
    assert [time for time, _ in written] == pytest.approx([0, 0.2, 0.4])


def test_slices_and_tracks(capfd, trained, frames, tmp_path):
    write_video(tmp_path / "clip.avi", [frames[0]] * 3)
    options = ["--checkpoint", trained / "last.ckpt", "--out", tmp_path / "out", "--score", 0]
    run_command("predict", tmp_path / "clip.avi", *options, "--track", "--slice", 48, "--overlap", 0.3)
    printed = capfd.readouterr().err
    assert "slices had no effect" not in printed
    assert re.search(r" on 3 frames; \S+ frames per second", printed)
    entries = json.loads((tmp_path / "out" / "detections.json").read_text())
    tracks = [
        {entry.get("track_id") for entry in entries if entry["image_id"] == number} for number in (1, 2, 3)
    ]
    assert tracks[0] == {None}
    assert len(tracks[1] & tracks[2]) > 1
    assert all(entry["segmentation"]["size"] == [64, 96] for entry in entries)
    options.append("--overwrite")
    run_command("predict", tmp_path / "clip.avi", *options, "--slice", 96)
    assert "no image is larger than a slice of 96 px: slices had no effect" in capfd.readouterr().err
    contents = file_contents(tmp_path / "out")
    Image.fromarray(frames[0]).save(tmp_path / "a.png")
    for arguments, message in (
        (["--track"], "a.png: is not a video, and only the objects of a video can be tracked"),
        (["--overlap", 0.3], "--overlap needs --slice"),
    ):
        assert_rejected(capfd, ["predict", tmp_path / "a.png", *options, *arguments], message)
    assert file_contents(tmp_path / "out") == contents


def test_a_bad_source_is_rejected(capfd, trained, tmp_path):
    options = ["--checkpoint", trained / "best.ckpt", "--out", tmp_path / "out"]
    (tmp_path / "bad.png").write_text("no image")
    (tmp_path / "bad.mp4").write_text("no video")
    for name, message in (
        ("none", "none: no such file or folder"),
        ("none.mp4", "none.mp4: no such video"),
        ("bad.png", "bad.png: is not an image"),
        ("bad.mp4", "bad.mp4: is not a video that can be read"),  # FFmpeg writes nothing in addition
    ):
        assert_rejected(capfd, ["predict", tmp_path / name, *options], message)
    for source, message in (
        ("", "source '': is empty; expected an image, a folder of images or a video"),
        ("977", "camera:977: is not a camera that can be opened: No such file or directory"),
        ("http://127.0.0.1:1/a.mp4", "http://127.0.0.1:1/a.mp4: cannot be downloaded: "),
    ):
        assert_rejected(capfd, ["predict", source, *options], message)
    assert not (tmp_path / "out").exists()


def test_an_image_that_is_too_large_for_its_format_is_drawn_as_png(trained, tmp_path):
    Image.new("RGB", (70_000, 3)).save(tmp_path / "long.jpg", "PNG")
    coco = predict(trained, tmp_path / "long.jpg", tmp_path / "out")
    assert [image["file_name"] for image in coco.imgs.values()] == ["long.jpg"]
    assert picture_names(tmp_path / "out") == ["long.jpg.png"]


def test_a_truncated_video_is_an_error_at_the_end(capfd, trained, frames, tmp_path):
    path = tmp_path / "clip.avi"
    write_video(path, frames)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    command = ["predict", path, "--checkpoint", trained / "best.ckpt", "--out", tmp_path / "out"]
    message = f"{path}: is damaged or truncated: it ends after 0.2 of 0.6 s"
    assert_rejected(capfd, [*command, "--strict"], message)
    assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit) as caught:
        run_command(*command)
    assert caught.value.code == 1
    *_, summary, line = capfd.readouterr().err.splitlines()
    assert "on 1 frame" in summary
    assert line == f"mvit-det: error: {message}"
    assert len(json.loads((tmp_path / "out" / "images.json").read_text())["images"]) == 1
    assert len(read_streams(tmp_path / "out" / "pictures" / "clip.mp4")[0]) == 1


def test_a_score_is_a_fraction(capfd, trained, data, tmp_path):
    command = ["predict", data / "images", "--checkpoint", trained / "best.ckpt", "--out", tmp_path / "out"]
    assert_rejected(capfd, [*command, "--score", "50"], "score 50: must be from 0 to 1")
    assert not (tmp_path / "out").exists()


def test_an_image_that_cannot_be_read_is_left_out(capfd, trained, frames, tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.fromarray(frames[0]).save(tmp_path / "photos" / name / "1.png")
    bad = tmp_path / "photos" / "b" / "1.png"
    bad.write_text("no image")
    command = [
        "predict",
        tmp_path / "photos",
        "--checkpoint",
        trained / "best.ckpt",
        "--out",
        tmp_path / "out",
    ]
    assert_rejected(capfd, [*command, "--strict"], f"{bad}: is not an image")
    assert not (tmp_path / "out").exists()
    (tmp_path / "out" / "pictures").mkdir(parents=True)
    (tmp_path / "out" / "detections.json").write_text("earlier")
    assert_rejected(capfd, [*command, "--strict", "--overwrite"], f"{bad}: is not an image")
    assert (tmp_path / "out" / "detections.json").read_text() == "earlier"
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(SystemExit) as caught:
        run_command(*command, "--batch-size", 2)
    assert caught.value.code == 1
    shown = capfd.readouterr()
    assert f"{bad}: is not an image; left out" in shown.out + shown.err
    assert "mvit-det: error: 1 image of 3 could not be read; see above" in shown.err
    images = json.loads((tmp_path / "out" / "images.json").read_text())["images"]
    assert [(image["id"], image["file_name"]) for image in images] == [(1, "a/1.png"), (2, "c/1.png")]
    assert (tmp_path / "out" / "pictures" / "c" / "1.png").is_file()


def test_other_files_are_not_overwritten(capfd, trained, data, tmp_path):
    before = file_contents(trained)
    command = ["predict", data / "images", "--checkpoint", trained / "best.ckpt", "--out", trained]
    for arguments in (command, [*command, "--overwrite"]):
        assert_rejected(capfd, arguments, trained, "already holds a training run")
    assert file_contents(trained) == before

    shutil.copytree(data / "images", tmp_path / "pictures")
    before = file_contents(tmp_path)
    command = ["predict", tmp_path / "pictures", "--checkpoint", trained / "best.ckpt", "--out", tmp_path]
    assert_rejected(capfd, [*command, "--overwrite"], "pictures: --overwrite would remove it")
    assert file_contents(tmp_path) == before


CAMERA = """
import signal
from mvit_det.cli.main import main
from mvit_det.data import videos

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & makes its commands ignore it
# FFmpeg's generator of test images takes the place of the camera's driver.
videos.CAMERA_DEVICE, videos.CAMERA_FORMAT = "testsrc=size=96x64:rate=10[out{}]", "lavfi"
main()
"""


def test_an_interrupt_is_the_end_of_a_camera(trained, tmp_path):
    out = tmp_path / "out"
    options = ["--checkpoint", trained / "best.ckpt", "--out", out, "--batch-size", "1", "--score", "0"]
    process = subprocess.Popen(
        [sys.executable, "-c", CAMERA, "predict", "0", *options], stderr=subprocess.PIPE, text=True
    )
    try:
        while process.poll() is None and not (out / "pictures").exists():  # the first frame was detected
            time.sleep(0.02)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, shown = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, shown
    images = json.loads((out / "images.json").read_text())["images"]
    assert images
    (summary,) = shown.splitlines()
    assert f"on {len(images)} frame" in summary
    written, _ = read_streams(out / "pictures" / "camera0.mp4")
    assert len(written) == len(images)


def test_an_interrupt_leaves_the_results_until_then(trained, frames, tmp_path):
    (tmp_path / "photos").mkdir()
    for number in range(400):
        Image.fromarray(frames[0]).save(tmp_path / "photos" / f"{number:03d}.png")
    out = tmp_path / "out"
    options = ["--checkpoint", trained / "best.ckpt", "--out", out, "--batch-size", "2", "--score", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mvit_det", "predict", tmp_path / "photos", *options],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while process.poll() is None and not (out / "pictures" / "006.png").exists():
            time.sleep(0.02)
        process.terminate()  # a shell makes its background jobs ignore SIGINT
        _, shown = process.communicate(timeout=60)
    finally:
        process.kill()
    images = json.loads((out / "images.json").read_text())["images"]
    assert 7 <= len(images) < 400
    assert process.returncode == 1
    summary, line = shown.splitlines()
    assert f"on {len(images)} images" in summary
    assert line == "mvit-det: interrupted"
    assert picture_names(out) == [image["file_name"] for image in images]
    detections = json.loads((out / "detections.json").read_text())
    assert {entry["image_id"] for entry in detections} == {image["id"] for image in images}
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]
