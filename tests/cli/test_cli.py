"""The command, from files to files, on a handful of small pictures."""

import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

import mvit_det.report.predictions  # noqa: F401  (sets OpenCV's log level before its first use here)
from mvit_det import MViT, build_classifier, build_mvit
from mvit_det.cli.arguments import build_parser
from mvit_det.cli.main import COMMANDS, main
from mvit_det.data.shapes import write_shapes
from mvit_det.torchvision.engine.detector_checkpoint import load_detector


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_shapes(folder, num_train=6, num_val=3)
    return folder


def train_arguments(data, out, *more):
    arguments = ["train", "--json", data / "train.json", "--images", data / "images", "--out", out]
    arguments += ["--variant", "mvitv2_nano", "--size", 96, "--batch-size", 2, "--workers", 0]
    return [str(argument) for argument in (*arguments, *more)]


@pytest.fixture(scope="session")
def run(data, tmp_path_factory):
    """The folder of a run of two epochs."""
    out = tmp_path_factory.mktemp("runs") / "run"
    validation = ("--val-json", data / "val.json", "--draw", 2, "--epochs", 2)
    main(train_arguments(data, out, *validation))
    return out


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(capfd, arguments, *expected):
    """Run a command that must end with one line that holds ``expected``, and with status 2."""
    with pytest.raises(SystemExit, match="2"):
        main([str(argument) for argument in arguments])
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("mvit-det: error: ")
    for text in expected:
        assert str(text) in lines[0]


def test_a_run_leaves_everything_to_look_at(run, data):
    for name in ("run.json", "last.ckpt", "best.ckpt", "losses.png", "metrics.json", "detections.json"):
        assert (run / name).stat().st_size > 0, name
    logs = run / "logs" / "version_0"
    assert "train/loss_mask" in (logs / "metrics.csv").read_text().splitlines()[0]
    assert list(logs.glob("events.out.tfevents*"))
    assert sorted(p.name for p in (run / "pictures").iterdir()) == ["val_0001.png", "val_0002.png"]
    settings = json.loads((run / "run.json").read_text())
    assert settings["schedule"]["steps"] == 6
    assert settings["options"]["size"] == 96
    assert set(json.loads((run / "metrics.json").read_text())) == {"box", "mask"}
    detections = json.loads((run / "detections.json").read_text())
    assert {entry["image_id"] for entry in detections} <= {1, 2, 3}
    if detections:
        COCO(data / "val.json").loadRes(detections)


def test_evaluation_of_the_best_checkpoint_gives_the_metrics_of_the_run(run, data, tmp_path):
    arguments = ["eval", "--checkpoint", run / "best.ckpt", "--json", data / "val.json", "--workers", 0]
    arguments += ["--images", data / "images", "--out", tmp_path / "eval"]
    main([str(argument) for argument in arguments])
    assert (tmp_path / "eval" / "metrics.json").read_text() == (run / "metrics.json").read_text()


def test_resuming_goes_on_where_the_run_was_killed(run, data, tmp_path):
    out = tmp_path / "broken"
    validation = ("--val-json", data / "val.json", "--draw", 0)
    code = """
import os, sys
from lightning.pytorch.callbacks import ModelCheckpoint
from mvit_det.cli.main import main

save = ModelCheckpoint.on_train_epoch_end

def save_and_die(self, trainer, module):
    save(self, trainer, module)
    if self.monitor is None:  # that of last.ckpt
        os._exit(9)

ModelCheckpoint.on_train_epoch_end = save_and_die
main(sys.argv[1:])
"""
    arguments = train_arguments(data, out, *validation, "--epochs", 2)
    killed = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, check=False)
    assert killed.returncode == 9, killed.stderr
    assert torch.load(out / "last.ckpt", weights_only=True)["global_step"] == 3
    main([*arguments, "--resume"])
    resumed = torch.load(out / "last.ckpt", weights_only=True)
    unbroken = torch.load(run / "last.ckpt", weights_only=True)
    assert resumed["global_step"] == unbroken["global_step"] == 6
    assert resumed["lr_schedulers"] == unbroken["lr_schedulers"]
    assert resumed["optimizer_states"][0]["state"][0]["step"] == 6
    assert sorted(path.name for path in (out / "logs").iterdir()) == ["version_0", "version_1"]


def test_prediction_on_a_picture_a_folder_and_a_video(run, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (3, 64, 96, 3), np.uint8)
    Image.fromarray(frames[0]).save(photos / "b.png")
    Image.fromarray(frames[1, :, :, 0]).save(photos / "a.jpg")
    video = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 5, (96, 64))
    for frame in frames:
        video.write(frame)
    video.release()
    for source, names in (
        (photos, ["a.jpg", "b.png"]),
        (photos / "b.png", ["b.png"]),
        (tmp_path / "clip.avi", ["clip.mp4"]),
    ):
        out = tmp_path / f"out_{source.stem}_{len(names)}"
        arguments = ["predict", source, "--checkpoint", run / "last.ckpt", "--out", out, "--score", 0]
        main([str(argument) for argument in arguments])
        assert sorted(path.name for path in (out / "pictures").iterdir()) == names
        coco = COCO(out / "images.json")
        assert len(coco.imgs) == (3 if source.suffix == ".avi" else len(names))
        assert (coco.imgs[1]["width"], coco.imgs[1]["height"]) == (96, 64)
        detections = json.loads((out / "detections.json").read_text())
        if detections:
            coco.loadRes(str(out / "detections.json"))
    assert Image.open(tmp_path / "out_b_1" / "pictures" / "b.png").size == (96, 64)
    written = cv2.VideoCapture(str(tmp_path / "out_clip_1" / "pictures" / "clip.mp4"))
    assert written.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert written.get(cv2.CAP_PROP_FPS) == 5


def test_info_of_a_variant(capfd):
    main(["info", "mvitv2_t", "--size", "320", "333"])
    shown = capfd.readouterr().out
    assert "mvitv2_t: 23,405,664 parameters" in shown
    assert "scale5: 768 x 10 x 11, stride 32" in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_shows_an_example_that_parses(command, capfd):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    program, *arguments = capfd.readouterr().out.split("example:\n")[1].split()
    assert program == "mvit-det"
    assert arguments[0] == command
    assert build_parser().parse_args(arguments).command == command


def test_the_demo_goes_the_whole_way(tmp_path, monkeypatch):
    monkeypatch.setattr("mvit_det.cli.demo.NUM_TRAIN", 4)
    monkeypatch.setattr("mvit_det.cli.demo.NUM_VAL", 2)
    main(["demo", "--out", str(tmp_path), "--epochs", "1"])
    for name in ("metrics.json", "losses.png", "pictures/val_0002.png", "shapes/val.json", "best.ckpt"):
        assert (tmp_path / name).stat().st_size > 0, name


def test_every_flag_of_training_together(data, tmp_path):
    out = tmp_path / "out"
    flags = ["--cascade", "--accumulate", 3, "--precision", "bf16", "--clip-norm", 1, "--recompute", "cheap"]
    flags += ["--augmentation", "lsj", "--epochs", 2, "--lr", 1e-4, "--seed", 3]
    main(train_arguments(data, out, *flags))
    checkpoint = torch.load(out / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 2  # six pictures in a step
    assert checkpoint["mvit_det"]["head"] == "cascade_mask_rcnn"
    assert checkpoint["mvit_det"]["long_side"] == 96  # a square


def test_two_processes_share_the_pictures_and_the_evaluation(data, tmp_path):
    out = tmp_path / "out"
    arguments = train_arguments(data, out, "--devices", 2, "--epochs", 1, "--val-json", data / "val.json")
    command = [sys.executable, "-m", "mvit_det", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "4 images a step = 2 a batch x 2 devices" in done.stderr
    assert done.stderr.count("average precision") == 1
    alone = tmp_path / "alone"
    arguments = ["eval", "--checkpoint", out / "best.ckpt", "--json", data / "val.json", "--images"]
    main([str(a) for a in (*arguments, data / "images", "--out", alone)])
    assert (alone / "metrics.json").read_text() == (out / "metrics.json").read_text()
    together = json.loads((out / "detections.json").read_text())
    assert len(together) == len(json.loads((alone / "detections.json").read_text()))


def test_unknown_variant(capfd, data, tmp_path):
    arguments = train_arguments(data, tmp_path / "out")
    arguments[arguments.index("mvitv2_nano")] = "mvitv2_nana"
    refused(capfd, arguments, "'mvitv2_nana': did you mean 'mvitv2_nano'?")
    refused(capfd, ["info", "mvit_s"], "'mvit_s': did you mean 'mvitv2_s'?")
    refused(capfd, ["info", "mvitv2_t", "--size", 16, 16], "16 x 16 px: both sides must be at least 32")
    assert not (tmp_path / "out").exists()


def test_bad_data_is_refused_before_anything_is_written(capfd, data, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(data, broken)
    out = tmp_path / "out"
    (broken / "val.json").write_text("{")
    refused(capfd, train_arguments(broken, out, "--val-json", broken / "val.json"), "val.json: is not JSON")
    (broken / "train.json").write_text((data / "train.json").read_text().replace("[", "[NaN,", 1))
    refused(capfd, train_arguments(broken, out), "train.json: images[0]: NaN is not an object")
    (broken / "train.json").unlink()
    refused(capfd, train_arguments(broken, out), "train.json: no such file")
    shutil.copy(data / "train.json", broken)
    picture = broken / "images" / "train_0002.png"
    picture.write_bytes(picture.read_bytes()[:2000])
    refused(capfd, train_arguments(broken, out), "train_0002.png: is truncated")
    shutil.rmtree(broken / "images")
    refused(capfd, train_arguments(broken, out), "images: no such folder")
    assert not out.exists()


def test_a_picture_that_is_damaged_during_a_run_is_named(capfd, data, tmp_path, monkeypatch):
    broken = tmp_path / "broken"
    shutil.copytree(data, broken)
    for picture in (broken / "images").glob("train_*"):
        picture.write_bytes(b"")
    monkeypatch.setattr("mvit_det.torchvision.evaluate.check_images", lambda *arguments: None)
    arguments = train_arguments(broken, tmp_path / "out", "--workers", 1)
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("mvit-det: error: ")
    assert last.endswith(".png: is empty; expected a picture")


def test_another_run_is_not_touched(capfd, run, data):
    before = contents(run)
    refused(capfd, train_arguments(data, run), run, "already holds", "--overwrite", "--resume")
    arguments = ["eval", "--checkpoint", run / "best.ckpt", "--json", data / "val.json"]
    arguments += ["--images", data / "images", "--out", run]
    predict = ["predict", data / "images", "--checkpoint", run / "best.ckpt", "--out", run]
    for command in (arguments, predict):
        refused(capfd, command, run, "already holds a training run")
        refused(capfd, [*command, "--overwrite"], run, "already holds a training run")
    refused(capfd, ["demo", "--out", run], "already holds")
    assert contents(run) == before


def test_overwriting_does_not_remove_what_a_run_reads(capfd, run, data, tmp_path):
    shutil.copytree(data / "images", tmp_path / "pictures")
    before = contents(tmp_path)
    arguments = train_arguments(data, tmp_path, "--overwrite")
    arguments[arguments.index(str(data / "images"))] = str(tmp_path / "pictures")
    refused(capfd, arguments, "pictures: --overwrite would remove it")
    predict = ["predict", tmp_path / "pictures", "--checkpoint", run / "best.ckpt", "--out", tmp_path]
    refused(capfd, [*predict, "--overwrite"], "pictures: --overwrite would remove it")
    assert contents(tmp_path) == before


def test_an_output_that_cannot_be_written_is_refused(capfd, data, tmp_path):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        refused(capfd, train_arguments(data, out), "file: is a file; expected a folder")


def test_overwriting_removes_the_files_of_a_run_alone(data, tmp_path):
    out = tmp_path / "out"
    (out / "pictures").mkdir(parents=True)
    (out / "metrics.json").write_text("{}")
    (out / "notes.txt").write_text("mine")
    main(train_arguments(data, out, "--overwrite", "--epochs", 1))
    assert not (out / "metrics.json").exists()
    assert not (out / "pictures").exists()
    assert (out / "notes.txt").read_text() == "mine"


def test_a_checkpoint_of_other_classes_is_refused(capfd, run, data, tmp_path):
    one_class = json.loads((data / "val.json").read_text())
    one_class["categories"] = one_class["categories"][:1]
    one_class["annotations"] = [a for a in one_class["annotations"] if a["category_id"] == 1]
    (tmp_path / "one.json").write_text(json.dumps(one_class))
    classes = "3 classes (1 circle, 2 square, 3 triangle)"
    arguments = ["eval", "--checkpoint", run / "best.ckpt", "--json", tmp_path / "one.json"]
    arguments += ["--images", data / "images", "--out", tmp_path / "out"]
    refused(capfd, arguments, "best.ckpt", classes, "1 class (1 circle)")
    before = contents(run)
    resume = train_arguments(data, run, "--resume")
    resume[resume.index(str(data / "train.json"))] = str(tmp_path / "one.json")
    refused(capfd, resume, "last.ckpt", classes, "1 class (1 circle)")
    whole = ("--val-json", data / "val.json", "--epochs", 2, "--resume")
    refused(capfd, train_arguments(data, run, *whole, "--cascade"), "head mask_rcnn, not cascade_mask_rcnn")
    changed = "the run was of 2 images a step", "this would be of 6 images a step"
    refused(capfd, train_arguments(data, run, *whole, "--accumulate", 3), *changed)
    assert contents(run) == before


def test_what_is_no_checkpoint_is_refused(capfd, run, data, tmp_path):
    other = tmp_path / "other.ckpt"
    source = ["predict", data / "images", "--out", tmp_path / "out", "--checkpoint", other]
    refused(capfd, source, "other.ckpt: no such file")
    other.write_text("<html>")
    refused(capfd, source, "other.ckpt: is a web page, not a file of weights")
    torch.save({"state_dict": {}}, other)
    refused(capfd, source, "other.ckpt: holds no tensors by names")
    torch.save(build_mvit("mvitv2_nano").state_dict(), other)
    refused(capfd, source, "other.ckpt: holds mvitv2_nano, backbone (mvit_det); expected a whole detector")
    refused(capfd, train_arguments(data, tmp_path / "none", "--resume"), "last.ckpt: no such file")
    shutil.copytree(run, tmp_path / "weights")
    shutil.copy(run / "best.ckpt", tmp_path / "weights" / "last.ckpt")
    refused(capfd, train_arguments(data, tmp_path / "weights", "--resume"), "last.ckpt: holds only weights")


def test_a_run_starts_from_weights_and_is_refused_those_of_another_variant(capfd, data, tmp_path):
    classifier = build_classifier("mvitv2_nano", 10)
    torch.save({"model_state": classifier.state_dict()}, tmp_path / "classes.pyth")
    wrong = {"model_state": build_classifier("mvitv2_t", 10).state_dict()}
    torch.save(wrong, tmp_path / "wrong.pyth")
    out = tmp_path / "out"
    start = ("--weights", tmp_path / "wrong.pyth", "--epochs", 1)
    refused(capfd, train_arguments(data, out, *start), "wrong.pyth: holds mvitv2_t, classifier")
    assert not out.exists()
    start = ("--weights", tmp_path / "classes.pyth", "--epochs", 1, "--lr", "1e-30")
    main(train_arguments(data, out, *start))
    assert "classes.pyth: mvitv2_nano, classifier, 10 classes" in capfd.readouterr().err
    weights = load_detector(out / "last.ckpt")[0].backbone.body.blocks[2].mlp.fc1.weight
    assert torch.equal(weights, classifier.blocks[2].mlp.fc1.weight)


def test_a_terminated_run_says_how_to_go_on(data, tmp_path):
    arguments = train_arguments(data, tmp_path / "out", "--epochs", 60)
    command = [sys.executable, "-m", "mvit_det", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.startswith("step "):
                process.terminate()
                break
        rest = process.stderr.read().strip().splitlines()
    assert process.returncode == 1
    assert rest[-1].startswith("mvit-det: interrupted; resume the run to continue from ")
    assert "Traceback" not in "".join(rest)


def test_thin_pictures_and_odd_names_go_the_whole_way(tmp_path):
    images = [
        {"id": 1, "file_name": "a/x.png", "width": 1, "height": 300},
        {"id": 2, "file_name": "b/x.png", "width": 400, "height": 3},
    ]
    for entry in images:
        path = tmp_path / "images" / entry["file_name"]
        path.parent.mkdir(parents=True)
        Image.new("RGB", (entry["width"], entry["height"])).save(path)
    data = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "[/red]"}]}
    (tmp_path / "thin.json").write_text(json.dumps(data), encoding="utf-8-sig")
    arguments = ["train", "--json", tmp_path / "thin.json", "--images", tmp_path / "images"]
    arguments += ["--val-json", tmp_path / "thin.json", "--variant", "mvitv2_nano", "--size", 64]
    arguments += ["--out", tmp_path / "out", "--epochs", 2, "--augmentation", "lsj", "--workers", 0]
    main([str(argument) for argument in arguments])
    drawn = sorted(path.name for path in (tmp_path / "out" / "pictures").iterdir())
    assert drawn == ["x.png", "x_2.png"]
    predict = ["predict", tmp_path / "images" / "a", "--checkpoint", tmp_path / "out" / "best.ckpt"]
    main([str(argument) for argument in (*predict, "--out", tmp_path / "found")])


def test_prediction_refuses_bad_sources(capfd, run, tmp_path):
    rest = ["--checkpoint", run / "best.ckpt", "--out", tmp_path / "out"]
    refused(capfd, ["predict", tmp_path / "none", *rest], "none: no such file or folder")
    refused(capfd, ["predict", tmp_path / "none.mp4", *rest], "none.mp4: no such video")
    (tmp_path / "bad.mp4").write_text("no video")
    refused(capfd, ["predict", tmp_path / "bad.mp4", *rest], "bad.mp4: is no video")
    (tmp_path / "bad.png").write_text("no picture")
    refused(capfd, ["predict", tmp_path / "bad.png", *rest], "bad.png: is not a picture")
    assert not (tmp_path / "out").exists()


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_pictures(capfd, data, tmp_path):
    arguments = train_arguments(data, tmp_path / "out", "--epochs", 60, "--lr", 1e9)
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert "is nan on the images with the ids" in last or "is inf on the images" in last


def test_out_of_memory_says_what_a_step_needed_and_what_brings_it_under(capfd, data, tmp_path, monkeypatch):
    def forward(self, images):
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 4.00 GiB of which "
            "1.00 GiB is free. If reserved but unallocated memory is large try ..."
        )

    monkeypatch.setattr(MViT, "forward", forward)
    with pytest.raises(SystemExit, match="2"):
        main(train_arguments(data, tmp_path / "out"))
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert "Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 4.00 GiB of which 1.00 GiB is" in last
    assert last.endswith(
        " is free, with a batch_size of 2; to need less, lower batch_size and raise accumulate, set "
        "recompute to cheap or block, or lower size"
    )
