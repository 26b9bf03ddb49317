"""The best checkpoint, and averaged weights."""

import logging

import pytest
import torch

pytest.importorskip("detectron2.modeling", reason="Detectron2 is not installed")

from mvit_det.detectron2.engine.ema import averaged_copy
from mvit_det.detectron2.engine.hooks import KeepBest


def test_the_best_is_kept_and_remembered(tmp_path, caplog):
    model, path = torch.nn.Linear(1, 1), tmp_path / "best.pth"
    keep = KeepBest(model, path, "bbox/AP")
    for precision, weight in ((float("nan"), 0.0), (20.0, 1.0), (10.0, 2.0)):
        torch.nn.init.constant_(model.weight, weight)
        keep({"bbox": {"AP": precision}})
    assert torch.load(path)["model"]["weight"] == 1.0
    torch.nn.init.constant_(model.weight, 3.0)
    resumed = KeepBest(model, path, "bbox/AP")
    resumed({"bbox": {"AP": 15.0}})
    assert torch.load(path)["model"]["weight"] == 1.0
    with caplog.at_level(logging.WARNING, "mvit_det"):
        resumed({})  # nothing was found
    assert "no bbox/AP among the results" in caplog.text
    assert [file.name for file in tmp_path.iterdir()] == ["best.pth"]


def test_an_average_lets_go_of_the_start_and_follows_the_decay():
    model = torch.nn.Linear(1, 1)
    average = averaged_copy(model, decay=0.5)
    values = [0.0, *range(1, 21)]
    expected = values[0]
    for step, value in enumerate(values):
        torch.nn.init.constant_(model.weight, value)
        average.update_parameters(model)
        if step:
            decay = min(0.5, (1 + step) / (10 + step))
            expected = decay * expected + (1 - decay) * value
    assert average.module.weight.item() == pytest.approx(expected)
