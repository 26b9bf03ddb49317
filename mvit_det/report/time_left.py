"""The time that a training run still needs."""

import time
from collections.abc import Callable, Sequence
from datetime import timedelta

# Time for evaluating an image / time for training on one, until the first evaluation has been measured.
EVALUATION_COST = 0.5


class TimeLeft:
    """Estimates the time that a run still needs from the durations of its steps and evaluations so far.

    Args:
        steps: number of steps of the run.
        evaluations: number of steps before each evaluation, in ascending order. A number may be repeated.
        evaluation_size: number of images of an evaluation / number of images of a step.
        clock: returns the time in seconds.
    """

    def __init__(
        self,
        steps: int,
        evaluations: Sequence[int],
        evaluation_size: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.steps, self.evaluations, self.clock = steps, evaluations, clock
        self.steps_per_evaluation = evaluation_size * EVALUATION_COST
        self.evaluation_seconds: float | None = None  # of the last evaluation

    def start(self, step: int) -> None:
        """Record that training starts or continues after ``step`` steps."""
        self.first_step = self.step = step
        self.evaluations_done = sum(before <= step for before in self.evaluations)
        self.training_seconds = 0.0
        self.last_time = self.clock()

    def end_step(self, step: int) -> None:
        """Record that ``step`` steps are done."""
        self.step = step
        self.training_seconds += self._since_last()

    def start_evaluation(self) -> None:
        """Record that an evaluation starts."""
        if self.step == self.first_step:  # it was counted, but was cut off before the run was resumed
            self.evaluations_done -= 1
        self.training_seconds += self._since_last()

    def end_evaluation(self) -> None:
        """Record that an evaluation has ended."""
        self.evaluation_seconds = self._since_last()
        self.evaluations_done += 1

    def seconds(self) -> float | None:
        """Return the estimate in seconds; None before the first step."""
        if self.step == self.first_step:
            return None
        per_step = self.training_seconds / (self.step - self.first_step)
        per_evaluation = self.evaluation_seconds
        if per_evaluation is None:
            per_evaluation = per_step * self.steps_per_evaluation
        evaluations_left = max(0, len(self.evaluations) - self.evaluations_done)
        return per_step * (self.steps - self.step) + per_evaluation * evaluations_left

    def __str__(self) -> str:
        seconds = self.seconds()
        return "" if seconds is None else f"{timedelta(seconds=round(seconds))} left"

    def _since_last(self) -> float:
        before, self.last_time = self.last_time, self.clock()
        return self.last_time - before
