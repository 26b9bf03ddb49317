"""Evaluations that were cut off, in runs of a trainer that does nothing."""

import pytest
from detectron2.engine import HookBase
from detectron2.engine.train_loop import TrainerBase

from mvit_det.detectron2.engine.evaluation_hook import Evaluation
from mvit_det.detectron2.engine.hooks import KeepBest, StopEarly, StoppedEarly


class Trainer(TrainerBase):
    """A trainer that only records its steps."""

    def run_step(self):
        self.steps.append(self.iter)


class Killed(BaseException):
    """Stands for the end of the process."""


def run(folder, start, max_iter=9, killed_at=None, period=3):
    """Train and return the steps, and the evaluations as (number of steps before it, storage's iteration)."""
    trainer, evaluations = Trainer(), []
    trainer.steps = []

    def evaluate():
        if trainer.iter + 1 == killed_at:
            raise Killed
        evaluations.append((trainer.iter + 1, trainer.storage.iter))
        return {"bbox": {"AP": 1.0}}

    trainer.register_hooks([Evaluation(period, evaluate, folder / "last_evaluation")])
    if killed_at is None:
        trainer.train(start, max_iter)
    else:
        with pytest.raises(Killed):
            trainer.train(start, max_iter)
    return trainer.steps, evaluations


def test_an_evaluation_that_was_cut_off_is_made_up_for(tmp_path):
    assert run(tmp_path, 0, killed_at=6) == ([0, 1, 2, 3, 4, 5], [(3, 2)])
    assert run(tmp_path, 6) == ([6, 7, 8], [(6, 5), (10, 9)])


def test_the_last_evaluation_of_a_resumed_run_counts_as_that_of_the_last_step(tmp_path):
    assert run(tmp_path, 9) == ([], [(10, 9)])  # as in a run that was not interrupted


@pytest.mark.parametrize("start", [5, 3])
def test_evaluations_that_were_completed_or_are_not_due_are_not_repeated(tmp_path, start):
    run(tmp_path, 0, killed_at=6)  # evaluated after step 3
    assert run(tmp_path, start)[1] == [(6, 5), (10, 9)]


def test_a_run_without_a_record_is_evaluated(tmp_path):
    """As of an earlier version, whose folder has no record."""
    assert run(tmp_path, 6)[1][0] == (6, 5)
    assert run(tmp_path, 6, period=0)[1] == [(10, 9)]


def test_the_record_of_an_earlier_run_does_not_count(tmp_path):
    (tmp_path / "last_evaluation").write_text("6")
    run(tmp_path, 0, killed_at=3)
    assert not (tmp_path / "last_evaluation").exists()


def test_a_run_ends_early_after_an_evaluation_that_is_made_up_for(tmp_path):
    keep_best = KeepBest(None, tmp_path / "best.pth", "bbox/AP", {})
    keep_best.best, keep_best.best_iteration = 2.0, 2
    trainer, at_end = Trainer(), []

    class End(HookBase):
        def after_train(self):
            at_end.append(self.trainer.iter)

    trainer.steps = []
    evaluation = Evaluation(3, lambda: {"bbox": {"AP": 1.0}}, tmp_path / "last_evaluation")
    trainer.register_hooks([evaluation, StopEarly(keep_best, 1, 3), End()])
    with pytest.raises(StoppedEarly):
        trainer.train(6, 9)
    assert trainer.steps == []
    assert at_end == [5]
    assert (tmp_path / "last_evaluation").read_text() == "6"


def test_names_of_classes_are_plain_text_in_the_metrics(tmp_path):
    trainer = Trainer()
    trainer.steps = []
    results = {"bbox": {"AP": 1.0, "AP-</script>": 2.0}}
    trainer.register_hooks([Evaluation(3, lambda: results, tmp_path / "last_evaluation")])
    trainer.train(0, 3)
    assert trainer.storage.latest().keys() >= {"bbox/AP", "bbox/AP-__script_"}
    assert "bbox/AP-</script>" not in trainer.storage.latest()
