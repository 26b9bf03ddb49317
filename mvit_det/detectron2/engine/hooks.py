"""Additions to Detectron2's hooks: averaged weights, the best checkpoint, early stopping, a progress bar."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from detectron2.engine import HookBase
from detectron2.utils import comm
from torch import nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from mvit_det.errors import InputError, counted
from mvit_det.weights.reading import read_file
from mvit_det.weights.save import save_content

BAR_PERIOD = 10  # steps between updates of the loss

Results = dict[str, dict[str, float]]  # task -> metric -> value


class UpdateAverage(HookBase):
    """Updates an exponential moving average of the weights after each step."""

    def __init__(self, average: AveragedModel, model: nn.Module) -> None:
        self.average, self.model = average, model

    def after_step(self) -> None:
        self.average.update_parameters(self.model)


class KeepBest:
    """Writes the weights of a model to a file whenever an evaluation is the best so far.

    The file also contains the value of the metric and the step, so that a resumed run continues the
    comparison.

    Args:
        model: the model that is evaluated.
        path: path of the file.
        metric: name of the metric to maximize, such as ``"bbox/AP"``.
        config: what :func:`mvit_det.detectron2.data.user_data.detector_config` returns.
    """

    def __init__(self, model: nn.Module, path: Path, metric: str, config: Mapping[str, Any]) -> None:
        self.model, self.path, self.metric, self.config = model, path, metric, config
        self.logger = logging.getLogger(__name__)
        self.best = float("-inf")
        self.best_iteration: int | None = None  # None: no evaluation was good, or an earlier version wrote it
        if path.is_file():
            try:
                content = read_file(path)
            except InputError as error:
                raise InputError(f"{error}; without this file, the comparison starts again") from None
            self.best, self.best_iteration = content.get(metric, self.best), content.get("iteration")

    def __call__(self, results: Results, iteration: int) -> None:
        """Compare the results of the evaluation after the step ``iteration`` with the best so far."""
        values = {f"{task}/{name}": value for task, part in results.items() for name, value in part.items()}
        if self.metric not in values:  # the model detects nothing yet, or the metric does not exist
            self.logger.warning(f"no {self.metric} among {', '.join(values) or 'the results'}")
            return
        value = float(values[self.metric])
        if math.isnan(value):
            self.logger.warning(f"{self.metric} is NaN, for example because nothing is detected yet")
        if not value > self.best:  # also skips NaN
            return
        self.best, self.best_iteration = value, iteration
        content = {"model": self.model.state_dict(), **self.config}
        content |= {self.metric: value, "iteration": iteration}
        save_content(content, self.path)
        self.logger.info(f"{self.metric} {value:.2f} is the best so far: wrote {self.path}")


class TimedEvaluation:
    """Calls a function that evaluates, and measures its time in seconds."""

    def __init__(self, evaluate: Callable[[], Results]) -> None:
        self.evaluate, self.seconds = evaluate, 0.0

    def __call__(self) -> Results:
        start = time.perf_counter()
        results = self.evaluate()
        self.seconds = time.perf_counter() - start
        return results


class StoppedEarly(BaseException):
    """Leaves the training loop. Detectron2 would log an ``Exception`` with its traceback."""


class StopEarly(HookBase):
    """Ends a run after ``patience`` evaluations in a row without a better metric.

    The count depends only on the step of the best evaluation, so that a resumed run continues it.

    Args:
        keep_best: knows the best evaluation so far, in the main process.
        patience: number of evaluations.
        eval_period: number of steps between evaluations, at least 1.
    """

    def __init__(self, keep_best: KeepBest, patience: int, eval_period: int) -> None:
        self.keep_best, self.patience, self.eval_period = keep_best, patience, eval_period
        self.start = 0  # step from which evaluations count if that of the best one is unknown

    def is_due(self, step: int) -> bool:
        """Return whether the run should end after ``step`` steps. All processes must call this function."""
        if self.keep_best.best_iteration is not None:
            best_step = self.keep_best.best_iteration + 1
        else:  # no evaluation was good, or an earlier version wrote the best checkpoint
            best_step = 0 if self.keep_best.best == float("-inf") else self.start
        is_due: list[bool] = comm.all_gather((step - best_step) // self.eval_period >= self.patience)
        return is_due[0]

    def before_train(self) -> None:
        self.start = step = self.trainer.start_iter
        if step < self.trainer.max_iter and self.is_due(step):  # the run had stopped already
            self.trainer.iter = step - 1
            raise StoppedEarly

    def after_step(self) -> None:
        step = self.trainer.iter + 1
        if step % self.eval_period == 0 and step < self.trainer.max_iter and self.is_due(step):
            raise StoppedEarly

    def __str__(self) -> str:
        metric, best = self.keep_best.metric, self.keep_best.best
        evaluations = counted(self.patience, "evaluation")
        return f"stopped early: {evaluations} without a better {metric} than {best:.2f}"


class ProgressBar(HookBase):
    """Shows the number of steps, the remaining time and the loss below the log on a terminal."""

    def __init__(self) -> None:
        self.stack = ExitStack()

    def before_train(self) -> None:
        loggers = [logging.getLogger(name) for name in ("detectron2", "fvcore", "mvit_det")]
        self.stack.enter_context(logging_redirect_tqdm(loggers))
        self.bar = self.stack.enter_context(
            tqdm(total=self.trainer.max_iter, initial=self.trainer.start_iter, unit="step", smoothing=0.05)
        )

    def after_step(self) -> None:
        if self.trainer.iter % BAR_PERIOD == 0:
            loss = self.trainer.storage.history("total_loss").median(20)
            self.bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
        self.bar.update()

    def after_train(self) -> None:
        self.stack.close()
