import json

import pytest
import torch

from mvit_det import build_mvit
from tests.cli.commands import assert_rejected, file_contents, run_command

pytestmark = pytest.mark.slow


def eval_arguments(data, checkpoint, out):
    arguments = ["eval", "--checkpoint", checkpoint, "--json", data / "val.json", "--images", data / "images"]
    return [*arguments, "--out", out, "--workers", 0]


def test_the_best_checkpoint_has_the_metrics_of_the_run(capfd, trained, data, tmp_path):
    arguments = eval_arguments(data, trained, tmp_path / "eval")  # the folder stands for its best.ckpt
    run_command(*arguments)
    assert (tmp_path / "eval" / "metrics.json").read_text() == (trained / "metrics.json").read_text()
    assert_rejected(
        capfd, arguments, "already holds metrics.json", "choose another folder, or add --overwrite"
    )
    assert_rejected(capfd, eval_arguments(data, data, tmp_path / "eval"), "is a folder without best.ckpt")


def test_a_training_run_is_not_overwritten(capfd, trained, data):
    before = file_contents(trained)
    arguments = eval_arguments(data, trained / "best.ckpt", trained)
    for command in (arguments, [*arguments, "--overwrite"]):
        assert_rejected(capfd, command, trained, "already holds a training run")
    assert file_contents(trained) == before


def test_data_with_other_classes_are_rejected(capfd, trained, data, tmp_path):
    truth = json.loads((data / "val.json").read_text())
    truth["categories"] = truth["categories"][:1]
    truth["annotations"] = [entry for entry in truth["annotations"] if entry["category_id"] == 1]
    (tmp_path / "val.json").write_text(json.dumps(truth))
    arguments = eval_arguments(data, trained / "best.ckpt", tmp_path / "out")
    arguments[arguments.index(data / "val.json")] = tmp_path / "val.json"
    classes = "3 classes (1 circle, 2 square, 3 triangle)"
    assert_rejected(capfd, arguments, "best.ckpt", classes, "1 class (1 circle)")


def test_a_file_that_is_not_a_detector_is_rejected(capfd, data, tmp_path):
    checkpoint = tmp_path / "other.ckpt"
    arguments = eval_arguments(data, checkpoint, tmp_path / "out")
    assert_rejected(capfd, arguments, "other.ckpt: no such file")
    checkpoint.write_text("<html>")
    assert_rejected(capfd, arguments, "other.ckpt: is a web page")
    torch.save({"state_dict": {}}, checkpoint)
    assert_rejected(capfd, arguments, "other.ckpt: holds no named tensors")
    torch.save(build_mvit("mvitv2_nano").state_dict(), checkpoint)
    message = "other.ckpt: holds mvitv2_nano, backbone (mvit_det); expected a whole detector"
    assert_rejected(capfd, arguments, message)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU computes in fp16")
def test_a_precision_that_the_device_lacks_is_rejected(capfd, trained, data, tmp_path):
    arguments = [*eval_arguments(data, trained, tmp_path / "out"), "--precision", "fp16"]
    assert_rejected(capfd, arguments, "precision fp16: a CPU computes in float32 or bf16")
    assert not (tmp_path / "out").exists()
