"""The checkpoint of the best evaluation, and the early end of a run."""

import logging
from types import SimpleNamespace

import pytest
import torch

from mvit_det.detectron2.engine.hooks import KeepBest, StopEarly, StoppedEarly


def test_best_weights_are_kept_also_after_resuming(tmp_path, caplog):
    model, path = torch.nn.Linear(1, 1), tmp_path / "best.pth"
    keep = KeepBest(model, path, "bbox/AP", {})
    for iteration, precision, weight in ((4, float("nan"), 0.0), (9, 20.0, 1.0), (14, 10.0, 2.0)):
        torch.nn.init.constant_(model.weight, weight)
        keep({"bbox": {"AP": precision}}, iteration)
    assert torch.load(path)["model"]["weight"] == 1.0
    assert "bbox/AP is NaN" in caplog.text
    torch.nn.init.constant_(model.weight, 3.0)
    resumed = KeepBest(model, path, "bbox/AP", {})
    assert resumed.best_iteration == 9
    resumed({"bbox": {"AP": 15.0}}, 19)
    assert torch.load(path)["model"]["weight"] == 1.0
    with caplog.at_level(logging.WARNING, "mvit_det"):
        resumed({}, 24)  # nothing was detected
    assert "no bbox/AP among the results" in caplog.text
    assert [file.name for file in tmp_path.iterdir()] == ["best.pth"]


def end_of_run(keep_best, scores, patience, start=0):
    """Return the number of steps of a run that is evaluated every 5 steps, with these scores."""
    stop = StopEarly(keep_best, patience, eval_period=5)
    stop.start, max_iter = start, start + 5 * len(scores)
    for iteration in range(start, max_iter):
        stop.trainer = SimpleNamespace(iter=iteration, max_iter=max_iter)
        if (iteration + 1) % 5 == 0:
            keep_best({"bbox": {"AP": scores[(iteration - start) // 5]}}, iteration)
        try:
            stop.after_step()
        except StoppedEarly:
            return iteration + 1, str(stop)
    return max_iter, None


@pytest.mark.parametrize(
    ("scores", "patience", "steps"),
    [
        ([1.0, 3.0, 2.0, 3.0, 9.0], 2, 20),  # an equal score is not better
        ([1.0, 3.0, 2.0, 4.0, 3.0], 2, 25),
        ([1.0, 1.0, 1.0, 1.0, 1.0], 4, 25),  # the last step ends the run anyway
        ([float("nan")] * 5, 3, 15),
    ],
)
def test_a_run_ends_after_evaluations_without_a_better_one(tmp_path, scores, patience, steps):
    keep_best = KeepBest(torch.nn.Linear(1, 1), tmp_path / "best.pth", "bbox/AP", {})
    assert end_of_run(keep_best, scores, patience)[0] == steps


def test_a_resumed_run_continues_the_count(tmp_path):
    path = tmp_path / "best.pth"
    model = torch.nn.Linear(1, 1)
    assert end_of_run(KeepBest(model, path, "bbox/AP", {}), [7.0, 6.0], patience=3) == (10, None)
    resumed = KeepBest(model, path, "bbox/AP", {})
    steps, message = end_of_run(resumed, [6.0, 6.0, 6.0], patience=3, start=10)
    assert steps == 20  # 15 steps after the best evaluation
    assert message == "stopped early: 3 evaluations without a better bbox/AP than 7.00"
    assert StopEarly(resumed, 3, eval_period=5).is_due(20)
    assert not StopEarly(resumed, 4, eval_period=5).is_due(20)
