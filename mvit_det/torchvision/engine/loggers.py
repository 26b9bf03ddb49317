"""The loggers of a training run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from mvit_det.engine.trackers import mlflow_uri, project_name
from mvit_det.report import run_folder


def build_loggers(out: Path, tracker: str | None) -> list[Logger]:
    """Return the loggers for CSV and TensorBoard and, with ``tracker``, that of an experiment tracker.

    Args:
        out: the run's folder, whose name is also the name of the run in the tracker.
        tracker: ``"wandb"``, ``"mlflow"`` or None. Environment variables configure both, such as
            WANDB_PROJECT, WANDB_MODE and MLFLOW_TRACKING_URI. By default, MLflow writes to ``mlflow.db`` in
            the logs of the run.
    """
    csv = CSVLogger(out, name=run_folder.LOGS)
    loggers: list[Logger] = [csv, TensorBoardLogger(out, name=run_folder.LOGS, version=csv.version)]
    logs, name = out / run_folder.LOGS, out.absolute().name
    if tracker == "wandb":
        loggers.append(WandbLogger(name=name, project=project_name(tracker), save_dir=logs))
    elif tracker == "mlflow":
        logs.mkdir(parents=True, exist_ok=True)  # for the database
        loggers.append(MLFlowLogger(project_name(tracker), run_name=name, tracking_uri=mlflow_uri(logs)))
    return loggers


class LogOptions(L.Callback):
    """Logs the options of a run to the experiment tracker when training starts."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = {name: value for name, value in options.items() if value is not None}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger | MLFlowLogger):
                logger.log_hyperparams(self.options)
