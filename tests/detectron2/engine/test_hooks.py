"""The checkpoint of the best evaluation."""

import logging

import torch

from mvit_det.detectron2.engine.hooks import KeepBest


def test_best_weights_are_kept_also_after_resuming(tmp_path, caplog):
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
        resumed({})  # nothing was detected
    assert "no bbox/AP among the results" in caplog.text
    assert [file.name for file in tmp_path.iterdir()] == ["best.pth"]
