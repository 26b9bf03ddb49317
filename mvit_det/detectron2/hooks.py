"""Hooks of Detectron2's trainer: averaged weights, the best checkpoint, a progress bar."""

import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from detectron2.engine import HookBase
from detectron2.utils import comm
from torch import nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from mvit_det.errors import unknown_name

BEST = "model_best.pth"
BAR_PERIOD = 10  # steps between two losses shown


class UpdateAverage(HookBase):
    """Lets an exponential moving average follow the weights after each step."""

    def __init__(self, average: AveragedModel, model: nn.Module) -> None:
        self.average, self.model = average, model

    def after_step(self) -> None:
        self.average.update_parameters(self.model)


class KeepBest(HookBase):
    """Writes the weights that were evaluated to ``model_best.pth`` whenever they are the best so far.

    It is called with the results of an evaluation, and remembers the best over ``--resume``.
    """

    def __init__(self, model: nn.Module, folder: Path, metric: str) -> None:
        self.model, self.folder, self.metric = model, folder, metric
        self.best = float("-inf")

    def __call__(self, results: dict[str, dict[str, float]]) -> None:
        values = {f"{task}/{name}": value for task, part in results.items() for name, value in part.items()}
        if self.metric not in values:
            raise unknown_name("train.best_metric", self.metric, values)
        value = float(values[self.metric])
        if value <= self.best:  # or not a number
            return
        self.best = value
        if comm.is_main_process():
            path = self.folder / BEST
            step = self.trainer.iter + 1
            torch.save({"model": self.model.state_dict(), "step": step, self.metric: value}, path)
            logging.getLogger(__name__).info(f"{self.metric} {value:.2f} is the best so far: wrote {path}")

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = state["best"]


class ProgressBar(HookBase):
    """Shows the steps done, the time left and the loss below the log on a terminal."""

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
