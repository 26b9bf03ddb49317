"""The epochs after which a run is evaluated, and its early end, with a model of one weight."""

import pytest
from rich.console import Console

from mvit_det.torchvision.engine.evaluation_schedule import (
    EarlyStop,
    EvaluateLastEpoch,
    default_interval,
    evaluated_epochs,
)
from tests.torchvision.engine.tiny_run import fit


@pytest.mark.parametrize(("epochs", "interval"), [(1, 1), (10, 1), (11, 2), (36, 4), (100, 10)])
def test_there_are_at_most_ten_evaluations_by_default(epochs, interval):
    assert default_interval(epochs) == interval
    assert len(evaluated_epochs(epochs, interval)) <= 10


def test_the_last_epoch_is_evaluated(tmp_path):
    assert evaluated_epochs(5, 2) == [2, 4, 5]
    assert evaluated_epochs(4, 2) == [2, 4]
    assert evaluated_epochs(3, 8) == [3]
    module, _ = fit(tmp_path, [EvaluateLastEpoch()], max_epochs=5, check_val_every_n_epoch=2)
    assert module.evaluated_epochs == [2, 4, 5]


def test_a_run_ends_early_and_a_resumed_one_continues_the_count(tmp_path, capsys):
    scores = [10.0, 30.0, 20.0, 30.0, 40.0]  # the second is the best until the fifth

    def run(epochs, patience, ckpt_path=None):
        stop = EarlyStop(patience, Console(file=None, stderr=False))
        module, _ = fit(tmp_path, [stop], scores, max_epochs=epochs, ckpt_path=ckpt_path)
        return module.evaluated_epochs

    assert run(5, patience=2) == [1, 2, 3, 4]
    assert "stopped early at step 4: no better box AP than 30.0 in the last 2" in capsys.readouterr().out
    last = tmp_path / "last.ckpt"
    assert run(5, patience=2, ckpt_path=last) == []  # it had stopped
    assert run(5, patience=3, ckpt_path=last) == [5]  # a higher patience continues it
    assert run(3, patience=2) == [1, 2, 3]  # ended by the number of epochs, with a count of 1
    assert run(5, patience=2, ckpt_path=last) == [4]
