"""Additions to Detectron2's hooks: averaged weights, the best checkpoint, a progress bar."""

import logging
from contextlib import ExitStack
from pathlib import Path

import torch
from detectron2.engine import HookBase
from torch import nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

BEST = "model_best.pth"
BAR_PERIOD = 10  # steps between updates of the loss


class UpdateAverage(HookBase):
    """Updates an exponential moving average of the weights after each step."""

    def __init__(self, average: AveragedModel, model: nn.Module) -> None:
        self.average, self.model = average, model

    def after_step(self) -> None:
        self.average.update_parameters(self.model)


class KeepBest:
    """Writes the weights of a model to a file whenever an evaluation is the best so far.

    The file also contains the value of the metric, so that a resumed run continues the comparison.

    Args:
        model: the model that is evaluated.
        path: path of the file.
        metric: name of the metric to maximize, such as ``"bbox/AP"``.
    """

    def __init__(self, model: nn.Module, path: Path, metric: str) -> None:
        self.model, self.path, self.metric = model, path, metric
        self.logger = logging.getLogger(__name__)
        self.best = float("-inf")
        if path.is_file():
            self.best = torch.load(path, map_location="cpu", mmap=True).get(metric, self.best)

    def __call__(self, results: dict[str, dict[str, float]]) -> None:
        """Compare the results of an evaluation (task -> metric -> value) with the best so far."""
        values = {f"{task}/{name}": value for task, part in results.items() for name, value in part.items()}
        if self.metric not in values:  # the model detects nothing yet, or the metric does not exist
            self.logger.warning(f"no {self.metric} among {', '.join(values) or 'the results'}")
            return
        value = float(values[self.metric])
        if not value > self.best:  # also skips NaN
            return
        self.best = value
        temporary = self.path.with_suffix(".tmp")  # an interruption does not damage the previous file
        torch.save({"model": self.model.state_dict(), self.metric: value}, temporary)
        temporary.replace(self.path)
        self.logger.info(f"{self.metric} {value:.2f} is the best so far: wrote {self.path}")


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
