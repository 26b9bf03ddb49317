"""Writers of a run's metrics: the log with the remaining time, and experiment trackers."""

import json
import os
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from detectron2.engine import default_writers
from detectron2.utils.events import CommonMetricPrinter, EventStorage, EventWriter, get_event_storage
from omegaconf import DictConfig, OmegaConf

from mvit_det.detectron2.engine.hooks import TimedEvaluation
from mvit_det.engine.event_files import filter_events
from mvit_det.engine.trackers import mlflow_uri, project_name

WINDOW = 20  # steps over which a metric is smoothed, as in Detectron2's other writers

Log = Callable[[dict[str, float], int], Any]  # metrics, step


def build_writers(cfg: DictConfig, evaluation: TimedEvaluation) -> list[EventWriter]:
    """Return Detectron2's default writers and, if ``train.logger`` is set, that of an experiment tracker."""
    settings = cfg.train
    _, *writers = default_writers(settings.output_dir, settings.max_iter)
    writers.insert(0, MetricPrinter(settings.max_iter, settings.eval_period, evaluation))
    if settings.logger is not None:
        writers.append(TrackerWriter(*TRACKER_RUNS[settings.logger](cfg)))
    return writers


def remove_repeated_steps(folder: Path, start: int) -> None:
    """Remove from the logs of a run the steps that it repeats because it is resumed after ``start`` steps.

    The logs are ``metrics.json`` and the event files of TensorBoard, whose writer opens a new file later.
    """
    _cut_metrics(folder / "metrics.json", start)
    for path in folder.glob("events.out.tfevents.*"):
        filter_events(path, lambda names, index: index >= start)


def _cut_metrics(path: Path, start: int) -> None:
    """Cut ``metrics.json``. It is not replaced, because its writer may have opened it."""
    num_bytes = 0
    if path.is_file():
        with path.open("rb") as file:
            for line in file:
                # The run may have been killed while it wrote the last line.
                if not line.endswith(b"}\n") or json.loads(line)["iteration"] >= start:
                    break
                num_bytes += len(line)
        os.truncate(path, num_bytes)


class MetricPrinter(CommonMetricPrinter):
    """Detectron2's printer, with a remaining time that includes the evaluations.

    Args:
        max_iter: number of steps of the run.
        eval_period: number of steps between evaluations; 0 evaluates only after the last step.
        evaluation: measures the time of an evaluation. Before the first one, none is included.
    """

    def __init__(self, max_iter: int, eval_period: int, evaluation: TimedEvaluation) -> None:
        super().__init__(max_iter)
        self.max_iter, self.eval_period, self.evaluation = max_iter, eval_period, evaluation

    def _get_eta(self, storage: EventStorage) -> str | None:
        eta: str | None = super()._get_eta(storage)
        if "eta_seconds" not in storage.latest():  # the first steps
            return eta
        steps_left = storage.latest()["eta_seconds"][0]
        step = storage.iter + 1
        seconds = steps_left + self.evaluation.seconds * evaluations_left(
            step, self.max_iter, self.eval_period
        )
        storage.put_scalar("eta_seconds", seconds, smoothing_hint=False)
        return str(timedelta(seconds=int(seconds)))


def evaluations_left(step: int, max_iter: int, eval_period: int) -> int:
    """Return the number of evaluations after ``step`` steps, with the one after the last step."""
    if eval_period == 0:
        return 1
    return (max_iter - 1) // eval_period - step // eval_period + 1


class TrackerWriter(EventWriter):
    """Writes every new scalar to an experiment tracker.

    Args:
        log: writes the metrics of a step.
        finish: ends the run in the tracker.
    """

    def __init__(self, log: Log, finish: Callable[[], Any]) -> None:
        self.log, self.finish = log, finish
        self.last_step = -1

    def write(self) -> None:
        metrics: dict[int, dict[str, float]] = defaultdict(dict)
        for name, (value, step) in get_event_storage().latest_with_smoothing_hint(WINDOW).items():
            if step > self.last_step:
                metrics[step][name] = value
        for step in sorted(metrics):
            self.log(metrics[step], step)
            self.last_step = step

    def close(self) -> None:
        self.finish()


def _open_wandb(cfg: DictConfig) -> tuple[Log, Callable[[], Any]]:
    import wandb

    folder = Path(cfg.train.output_dir)
    name = folder.absolute().name
    run = wandb.init(project=project_name("wandb"), name=name, dir=folder, config=_flat(cfg))
    return (lambda metrics, step: run.log(metrics, step=step)), run.finish


def _open_mlflow(cfg: DictConfig) -> tuple[Log, Callable[[], Any]]:
    import mlflow

    folder = Path(cfg.train.output_dir)
    mlflow.set_tracking_uri(mlflow_uri(folder))
    mlflow.set_experiment(project_name("mlflow"))
    mlflow.start_run(run_name=folder.absolute().name)
    mlflow.log_params(_flat(cfg))
    return (lambda metrics, step: mlflow.log_metrics(metrics, step=step)), mlflow.end_run


# Value of train.logger -> opens a run, and returns how to log to it and how to end it.
TRACKER_RUNS: dict[str, Callable[[DictConfig], tuple[Log, Callable[[], Any]]]] = {
    "wandb": _open_wandb,
    "mlflow": _open_mlflow,
}


def _flat(cfg: DictConfig) -> dict[str, Any]:
    """Return the settings of the run as dotted name -> value."""
    keys = ("optimizer.lr", "dataloader.train.total_batch_size")
    values = {key: OmegaConf.select(cfg, key) for key in keys}

    def collect(node: Any, prefix: str) -> None:
        for key, value in node.items():
            if isinstance(value, dict):
                collect(value, f"{prefix}{key}.")
            else:
                values[f"{prefix}{key}"] = value

    collect(OmegaConf.to_container(cfg.train, resolve=True), "train.")
    return values
