"""Whole training runs through the command, on a few small images."""

import json
import re
import shutil
import subprocess
import sys

import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

from mvit_det import build_classifier
from mvit_det.torchvision.engine.detector_checkpoint import load_detector
from mvit_det.weights import read_checkpoint
from tests.cli.commands import assert_rejected, file_contents, run_command, train_arguments

pytestmark = pytest.mark.slow

# Runs the command, and kills the process once the first last.ckpt is written.
KILL_AFTER_AN_EPOCH = """
import os, sys
from mvit_det.cli.main import main
from mvit_det.torchvision.engine.last_checkpoint import LastCheckpoint

save = LastCheckpoint.on_train_epoch_end

def save_and_exit(self, trainer, module):
    save(self, trainer, module)
    os._exit(9)

LastCheckpoint.on_train_epoch_end = save_and_exit
main(sys.argv[1:])
"""


def last_line(capfd):
    return capfd.readouterr().err.strip().splitlines()[-1]


def load(checkpoint):
    return torch.load(checkpoint, weights_only=True)


def test_a_run_writes_checkpoints_logs_and_results(trained, data):
    for name in ("run.json", "last.ckpt", "best.ckpt", "losses.png", "metrics.json", "detections.json"):
        assert (trained / name).stat().st_size > 0, name
    logs = trained / "logs" / "version_0"
    assert "train/loss_mask" in (logs / "metrics.csv").read_text().splitlines()[0]
    assert list(logs.glob("events.out.tfevents*"))
    assert sorted(p.name for p in (trained / "pictures").iterdir()) == ["val_0001.png", "val_0002.png"]
    settings = json.loads((trained / "run.json").read_text())
    assert settings["schedule"]["steps"] == 6
    assert settings["options"]["size"] == 96
    assert set(json.loads((trained / "metrics.json").read_text())) == {"box", "mask"}
    detections = json.loads((trained / "detections.json").read_text())
    assert {entry["image_id"] for entry in detections} <= {1, 2, 3}
    if detections:
        COCO(data / "val.json").loadRes(detections)


def test_a_killed_run_resumes_after_its_last_epoch(trained, data, tmp_path):
    out = tmp_path / "out"
    validation = ("--val-json", data / "val.json", "--draw", 0)
    arguments = train_arguments(data, out, *validation, "--epochs", 2)
    command = [sys.executable, "-c", KILL_AFTER_AN_EPOCH, *arguments]
    killed = subprocess.run(command, capture_output=True, check=False)
    assert killed.returncode == 9, killed.stderr
    assert load(out / "last.ckpt")["global_step"] == 3
    run_command(*arguments, "--resume")
    resumed, uninterrupted = load(out / "last.ckpt"), load(trained / "last.ckpt")
    assert resumed["global_step"] == uninterrupted["global_step"] == 6
    assert resumed["lr_schedulers"] == uninterrupted["lr_schedulers"]
    assert resumed["optimizer_states"][0]["state"][0]["step"] == 6
    assert sorted(path.name for path in (out / "logs").iterdir()) == ["version_0", "version_1"]


def test_many_options_together(data, tmp_path):
    out = tmp_path / "out"
    options = ["--cascade", "--recompute", "cheap", "--augmentation", "lsj"]
    options += ["--accumulate", 3, "--clip-norm", 1, "--epochs", 2, "--lr", 1e-4, "--seed", 3]
    run_command(*train_arguments(data, out, *options))
    checkpoint = load(out / "last.ckpt")
    assert checkpoint["global_step"] == 2  # six images per step
    assert checkpoint["mvit_det"]["long_side"] == 96  # a square
    assert read_checkpoint(out / "last.ckpt").head == "cascade_mask_rcnn"


def test_averaged_weights_are_evaluated_and_kept_also_after_resuming(capfd, data, tmp_path):
    out = tmp_path / "out"
    validation = ("--val-json", data / "val.json", "--draw", 0, "--epochs", 4, "--eval-every", 3)
    run_command(*train_arguments(data, out, *validation, "--ema", 0.5, "--patience", 9))
    shown = [line.partition(":")[0] for line in capfd.readouterr().err.splitlines() if "after step" in line]
    assert shown == ["after step 9", "after step 12"]
    options = json.loads((out / "run.json").read_text())["options"]
    assert (options["ema"], options["eval_every"], options["patience"]) == (0.5, 3, 9)
    last, best = load(out / "last.ckpt"), load(out / "best.ckpt")
    key = "detector.roi_heads.box_predictor.cls_score.weight"
    assert not torch.equal(last["state_dict"][key], last["current_model_state"][key])
    assert "current_model_state" not in best
    assert last["averaging_state"]["n_averaged"] == 12
    if best["global_step"] == 12:
        assert torch.equal(last["state_dict"][key], best["state_dict"][key])
    message = ("was trained with ema 0.5, not None", "resume with the same options")
    assert_rejected(capfd, train_arguments(data, out, *validation, "--resume"), *message)
    other_seed = train_arguments(data, out, *validation, "--ema", 0.5, "--seed", 5, "--resume")
    assert_rejected(capfd, other_seed, "was trained with seed 0, not 5")


def test_mixed_precision_keeps_weights_in_float32(data, tmp_path):
    """Without cascade: bfloat16 convolutions take minutes on a CPU that does not support them."""
    run_command(*train_arguments(data, tmp_path / "out", "--precision", "bf16", "--epochs", 1))
    checkpoint = load(tmp_path / "out" / "last.ckpt")
    assert checkpoint["global_step"] == 3
    dtypes = {weight.dtype for weight in checkpoint["state_dict"].values() if weight.is_floating_point()}
    assert dtypes == {torch.float32}


@pytest.mark.parametrize(
    ("launcher", "options"),
    [([], ["--devices", 2]), (["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"], [])],
    ids=["lightning", "torchrun"],
)
def test_two_processes_share_the_training_and_the_evaluation(data, tmp_path, launcher, options):
    out = tmp_path / "out"
    arguments = train_arguments(data, out, *options, "--epochs", 1, "--val-json", data / "val.json")
    command = [sys.executable, *launcher, "-m", "mvit_det", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "a step = 2 a batch x 2 devices" in done.stderr
    assert "no GPU: 2 processes share the CPU of a machine" in done.stderr or torch.cuda.is_available()
    assert done.stderr.count("average precision") == 1
    single = tmp_path / "single"
    arguments = ["eval", "--checkpoint", out / "best.ckpt", "--json", data / "val.json", "--images"]
    run_command(*arguments, data / "images", "--out", single)
    assert (single / "metrics.json").read_text() == (out / "metrics.json").read_text()
    detections = json.loads((out / "detections.json").read_text())
    assert len(detections) == len(json.loads((single / "detections.json").read_text()))


def test_an_unknown_variant_is_rejected(capfd, data, tmp_path):
    arguments = train_arguments(data, tmp_path / "out", variant="mvitv2_nana")
    assert_rejected(capfd, arguments, "'mvitv2_nana': did you mean 'mvitv2_nano'?")
    assert not (tmp_path / "out").exists()


def test_bad_data_is_rejected_before_anything_is_written(capfd, data, tmp_path):
    broken, out = tmp_path / "broken", tmp_path / "out"
    shutil.copytree(data, broken)
    arguments = train_arguments(broken, out)
    (broken / "val.json").write_text("{")
    assert_rejected(capfd, [*arguments, "--val-json", broken / "val.json"], "val.json: is not JSON")
    (broken / "train.json").write_text((data / "train.json").read_text().replace("[", "[NaN,", 1))
    assert_rejected(capfd, arguments, "train.json: images[0]: NaN is not an object")
    (broken / "train.json").unlink()
    assert_rejected(capfd, arguments, "train.json: no such file")
    shutil.copy(data / "train.json", broken)
    image = broken / "images" / "train_0002.png"
    image.write_bytes(image.read_bytes()[:2000])
    assert_rejected(capfd, arguments, "train_0002.png: is truncated")
    shutil.rmtree(broken / "images")
    assert_rejected(capfd, arguments, "images: no such folder")
    assert not out.exists()


def test_an_image_that_is_damaged_during_a_run_is_named(capfd, data, tmp_path, monkeypatch):
    broken = tmp_path / "broken"
    shutil.copytree(data, broken)
    for image in (broken / "images").glob("train_*"):
        image.write_bytes(b"")
    monkeypatch.setattr("mvit_det.report.console.check_images", lambda dataset, *_, **__: dataset)
    with pytest.raises(SystemExit, match="2"):
        run_command(*train_arguments(broken, tmp_path / "out", "--workers", 1))
    line = last_line(capfd)
    assert line.startswith("mvit-det: error: ")
    assert ".png: is empty; expected an image; there is no checkpoint yet; to start again: " in line


def test_other_runs_and_inputs_are_not_overwritten(capfd, trained, data, tmp_path):
    before = file_contents(trained)
    message = (trained, "already holds", "--overwrite", "--resume")
    assert_rejected(capfd, train_arguments(data, trained), *message)
    assert_rejected(capfd, ["demo", "--out", trained], "already holds")
    arguments = train_arguments(data, trained, "--overwrite", "--weights", trained / "last.ckpt")
    with pytest.raises(SystemExit, match="2"):
        run_command(*arguments)
    assert "last.ckpt: --overwrite would remove it" in last_line(capfd)
    assert file_contents(trained) == before

    shutil.copytree(data / "images", tmp_path / "pictures")
    before = file_contents(tmp_path)
    arguments = train_arguments(data, tmp_path, "--overwrite", images=tmp_path / "pictures")
    assert_rejected(capfd, arguments, "pictures: --overwrite would remove it")
    assert file_contents(tmp_path) == before

    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "inside"):
        assert_rejected(capfd, train_arguments(data, out), "file: is a file; expected a folder")


def test_overwriting_removes_only_the_files_of_a_run(data, tmp_path):
    out = tmp_path / "out"
    (out / "pictures").mkdir(parents=True)
    (out / "metrics.json").write_text("{}")
    (out / "notes.txt").write_text("mine")
    run_command(*train_arguments(data, out, "--overwrite", "--epochs", 1))
    assert not (out / "metrics.json").exists()
    assert not (out / "pictures").exists()
    assert (out / "notes.txt").read_text() == "mine"


def test_a_run_resumes_only_with_the_same_options(capfd, trained, data, tmp_path):
    one_class = json.loads((data / "val.json").read_text())
    one_class["categories"] = one_class["categories"][:1]
    one_class["annotations"] = [entry for entry in one_class["annotations"] if entry["category_id"] == 1]
    (tmp_path / "one.json").write_text(json.dumps(one_class))
    before = file_contents(trained)
    arguments = train_arguments(data, trained, "--resume", json=tmp_path / "one.json")
    classes = "3 classes (1 circle, 2 square, 3 triangle)"
    assert_rejected(capfd, arguments, "last.ckpt", classes, "1 class (1 circle)")
    arguments = train_arguments(data, trained, "--val-json", data / "val.json", "--epochs", 2, "--resume")
    assert_rejected(capfd, [*arguments, "--cascade"], "last.ckpt: was trained with", "resume with the same")
    changes = ("would now be: 6 images", "was: 2 images", "resume with the same data")
    assert_rejected(capfd, [*arguments, "--accumulate", 3], *changes)
    assert file_contents(trained) == before

    assert_rejected(capfd, train_arguments(data, tmp_path / "none", "--resume"), "holds no run that could be")
    shutil.copytree(trained, tmp_path / "out")
    shutil.copy(trained / "best.ckpt", tmp_path / "out" / "last.ckpt")
    message = ("last.ckpt: holds", "weights", "expected the last.ckpt that the run wrote")
    assert_rejected(capfd, train_arguments(data, tmp_path / "out", "--resume"), *message)


def test_a_run_starts_from_weights_of_its_variant(capfd, data, tmp_path):
    classifier = build_classifier("mvitv2_nano", 10)
    torch.save({"model_state": classifier.state_dict()}, tmp_path / "classes.pyth")
    other = {"model_state": build_classifier("mvitv2_t", 10).state_dict()}
    torch.save(other, tmp_path / "other.pyth")
    out = tmp_path / "out"
    options = ("--weights", tmp_path / "other.pyth", "--epochs", 1)
    message = "other.pyth: holds mvitv2_t, classifier"
    assert_rejected(capfd, train_arguments(data, out, *options), message)
    assert not out.exists()
    options = ("--weights", tmp_path / "classes.pyth", "--epochs", 1, "--lr", "1e-30")
    run_command(*train_arguments(data, out, *options))
    assert "classes.pyth: mvitv2_nano, classifier, 10 classes" in capfd.readouterr().err
    weights = load_detector(out / "last.ckpt")[0].backbone.body.blocks[2].mlp.fc1.weight
    assert torch.equal(weights, classifier.blocks[2].mlp.fc1.weight)


def test_a_terminated_run_says_how_to_continue(data, tmp_path):
    arguments = train_arguments(data, tmp_path / "out", "--epochs", 60)
    command = [sys.executable, "-m", "mvit_det", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.startswith("step "):
                process.terminate()
                break
        lines = process.stderr.read().strip().splitlines()
    assert process.returncode == 1
    assert lines[-1].startswith("mvit-det: interrupted; ")
    assert "resume" in lines[-1]
    assert "last.ckpt" in lines[-1]
    assert "Traceback" not in "".join(lines)


def test_thin_images_and_unusual_names(tmp_path):
    images = [
        {"id": 1, "file_name": "a/x.png", "width": 1, "height": 300},
        {"id": 2, "file_name": "b/x.png", "width": 400, "height": 3},
    ]
    for entry in images:
        path = tmp_path / "images" / entry["file_name"]
        path.parent.mkdir(parents=True)
        Image.new("RGB", (entry["width"], entry["height"])).save(path)
    box = {"image_id": 2, "category_id": 1, "bbox": [10, 0, 50, 3]}
    data = {"images": images, "annotations": [box], "categories": [{"id": 1, "name": "[/red]"}]}
    (tmp_path / "thin.json").write_text(json.dumps(data), encoding="utf-8-sig")
    out = tmp_path / "out"
    options = ("--val-json", tmp_path / "thin.json", "--epochs", 2, "--augmentation", "lsj")
    run_command(*train_arguments(tmp_path, out, *options, json="thin.json"))
    assert sorted(path.name for path in (out / "pictures").iterdir()) == ["x.png", "x_2.png"]
    predict = ("predict", tmp_path / "images" / "a", "--checkpoint", out / "best.ckpt")
    run_command(*predict, "--out", tmp_path / "predictions")


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_images(capfd, data, tmp_path):
    arguments = train_arguments(data, tmp_path / "out", "--epochs", 60, "--lr", 1e9)
    with pytest.raises(SystemExit, match="2"):
        run_command(*arguments)
    line = last_line(capfd)
    assert re.search("is (nan|inf) on the .* with the ids ", line)


def test_out_of_memory_names_the_sizes_and_what_reduces_them(capfd, data, tmp_path, out_of_memory):
    with pytest.raises(SystemExit, match="2"):
        run_command(*train_arguments(data, tmp_path / "out"))
    line = last_line(capfd)
    assert "Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 4.00 GiB" in line
    assert "1.00 GiB is free" in line
    assert "If reserved" not in line
    for option in ("accumulate", "recompute", "size"):
        assert option in line
