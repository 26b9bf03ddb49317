"""Published models are used by their names. A server on this machine stands for the publishers'."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

import mvit_det
from mvit_det.errors import InputError
from mvit_det.torchvision import build_detector
from mvit_det.torchvision.engine.detector_checkpoint import COCO_CATEGORIES
from mvit_det.weights import PUBLISHED, to_detectron2
from tests.cli.commands import assert_rejected, run_command
from tests.file_server import serve

NAME = "mask_rcnn_mvitv2_t_3x"


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serve a small detector, in the format of Detectron2's model zoo, at the address of NAME."""
    weights = to_detectron2(build_detector("mvitv2_nano", 81).state_dict())
    content = {"model": {key: weight.numpy() for key, weight in weights.items()}, "__author__": "zoo"}
    (tmp_path / "web").mkdir()
    (tmp_path / "web/model_final_1a1c30.pkl").write_bytes(pickle.dumps(content))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.chdir(tmp_path)
    with serve(tmp_path / "web") as server:
        model = replace(PUBLISHED[NAME], url=f"{server.url}/model_final_1a1c30.pkl")
        monkeypatch.setitem(PUBLISHED, NAME, model)
        yield server


def test_a_name_is_downloaded_once_and_its_path_printed(server, tmp_path, capsys):
    for _ in range(2):
        run_command("download", NAME)
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    assert first.startswith(f"{tmp_path}/hub/mvit_det/")
    assert first.endswith("/model_final_1a1c30.pkl")
    assert server.gets() == [None]


def test_commands_and_the_detector_take_a_name(server, tmp_path, capsys):
    run_command("inspect", NAME)
    output = capsys.readouterr().out
    assert "mvitv2_nano" in output
    assert "80 classes" in output
    run_command("convert", NAME, tmp_path / "nano.safetensors")
    for source in (NAME, "nano.safetensors"):
        detector = mvit_det.Detector(source, min_score=0, max_detections=3)
        assert detector.categories == COCO_CATEGORIES
        detections = detector(np.zeros((64, 96, 3), np.uint8))
        names = [COCO_CATEGORIES[id_] for id_ in detections.class_id.tolist()]
        assert detections["class_name"].tolist() == names
        assert len(names) == 3
    assert server.gets() == [None]


def test_the_list_names_every_model(capsys):
    run_command("download", "--list")
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "parameters", "contents", "source"]
    assert [line.split()[0] for line in lines] == list(PUBLISHED)


def test_bad_sources_end_in_one_line(server, capfd):
    assert_rejected(capfd, ["download", "mask_rcnn_mvitv2_x_3x"], f"nearest names are {NAME}, ")
    assert_rejected(capfd, ["download"], "expected the name of a published model, a URL or --list")
    assert_rejected(capfd, ["download", "--list", NAME], "a URL or --list")
    assert_rejected(capfd, ["download", f"{server.url}/none.pkl"], "HTTP status 404")
    assert_rejected(capfd, ["inspect", "zzz"], "zzz: no such file, and no published")


def test_a_backbone_is_refused_as_a_detector_before_it_is_downloaded(server, tmp_path, capfd, monkeypatch):
    monkeypatch.setitem(PUBLISHED, "mvitv2_t", replace(PUBLISHED["mvitv2_t"], url=PUBLISHED[NAME].url))
    message = "mvitv2_t: is a backbone; expected a detector, such as mask_rcnn_mvitv2_t_3x"
    with pytest.raises(InputError, match=f"^{message}$"):
        mvit_det.Detector("mvitv2_t")
    for command in (["predict", tmp_path], ["eval", "--data", tmp_path]):
        assert_rejected(capfd, [*command, "--checkpoint", "mvitv2_t", "--out", tmp_path / "out"], message)
    assert not server.gets()
