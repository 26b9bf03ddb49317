import pytest

from mvit_det.report.time_left import EVALUATION_COST, TimeLeft


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self):
        return self.now


def test_evaluations_are_foreseen_before_and_after_the_first():
    """Four steps of 10 s; evaluations after the steps 2 and 4 and at the end, which take 100 s."""
    clock = Clock()
    left = TimeLeft(4, [2, 4, 4], evaluation_size=3, clock=clock)
    left.start(0)
    assert str(left) == ""
    clock.now = 10
    left.end_step(1)
    assert left.seconds() == pytest.approx(30 + 3 * 10 * 3 * EVALUATION_COST)
    clock.now = 20
    left.end_step(2)
    left.start_evaluation()
    clock.now = 120
    left.end_evaluation()
    assert left.seconds() == 20 + 200
    assert str(left) == "0:03:40 left"
    clock.now = 134  # 24 s for two steps and 100 s for an evaluation
    left.end_step(3)
    assert left.seconds() == pytest.approx(34 / 3 + 200)


def test_a_resumed_run_counts_only_what_remains():
    clock = Clock()
    left = TimeLeft(4, [2, 4, 4], evaluation_size=2, clock=clock)
    left.start(2)
    clock.now = 10
    left.end_step(3)
    assert left.seconds() == 10 + 2 * 10 * 2 * EVALUATION_COST


def test_an_evaluation_that_was_cut_off_is_made_up_for():
    clock = Clock()
    left = TimeLeft(4, [2, 4, 4], evaluation_size=2, clock=clock)
    left.start(2)
    left.start_evaluation()
    clock.now = 100
    left.end_evaluation()
    clock.now = 110
    left.end_step(3)
    assert left.seconds() == 10 + 2 * 100


def test_days_are_shown():
    clock = Clock()
    left = TimeLeft(10_001, [], evaluation_size=0, clock=clock)
    left.start(0)
    clock.now = 10
    left.end_step(1)
    assert str(left) == "1 day, 3:46:40 left"
