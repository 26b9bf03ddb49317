"""Lightning's Trainer as this project configures it, for training and for evaluation."""

import logging
import warnings
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from rich.console import Console

from mvit_det.ops.allocator import keep_freed_memory
from mvit_det.report import run_folder
from mvit_det.torchvision.engine.lightning_module import BEST_BY
from mvit_det.torchvision.engine.progress import RunProgress
from mvit_det.torchvision.engine.schedule import Schedule

PRECISIONS: dict[str, Literal["32-true", "bf16-mixed"]] = {"float32": "32-true", "bf16": "bf16-mixed"}
MIN_EVALUATIONS = 5  # during a run
LOG_INTERVAL = 10  # steps


def build_trainer(
    *,
    precision: str,
    devices: int,
    console: Console,
    callbacks: tuple[L.Callback, ...] = (),
    **kwargs: Any,
) -> L.Trainer:
    """Return a Trainer on the machine's accelerator, with this project's progress bar.

    Args:
        precision: ``"float32"`` or ``"bf16"``.
        devices: number of devices; with more than one, each has its own process (DDP).
        console: console for the progress bar.
        callbacks: callbacks besides the progress bar.
        **kwargs: keywords of Lightning's ``Trainer``.
    """
    if not torch.cuda.is_available():
        keep_freed_memory()
    torch.set_float32_matmul_precision("high")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", message="Grad strides do not match")  # DDP; affects speed only
    return L.Trainer(
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        precision=PRECISIONS[precision],
        callbacks=[RunProgress(console), *callbacks],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        **kwargs,
    )


def build_fitting_trainer(
    out: Path,
    schedule: Schedule,
    *,
    epochs: int,
    accumulate: int,
    clip_norm: float | None,
    keep_best: bool,
    precision: str,
    devices: int,
    console: Console,
) -> L.Trainer:
    """Return a Trainer for a training run, which logs and writes checkpoints to the run's folder.

    Args:
        out: the run's folder.
        schedule: the run's schedule.
        epochs: number of epochs.
        accumulate: number of batches in an optimizer step.
        clip_norm: limit on the norm of the gradient; None for no limit.
        keep_best: whether to keep the checkpoint with the best validation metric besides the last one.
        precision: see :func:`build_trainer`, as for the arguments that follow.
    """
    csv = CSVLogger(out, name=run_folder.LOGS)
    tensorboard = TensorBoardLogger(out, name=run_folder.LOGS, version=csv.version)
    last = ModelCheckpoint(
        out,
        filename=Path(run_folder.LAST).stem,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    best = ModelCheckpoint(
        out,
        filename=Path(run_folder.BEST).stem,
        monitor=BEST_BY,
        mode="max",
        save_weights_only=True,
        enable_version_counter=False,
    )
    num_batches = schedule.steps * accumulate
    return build_trainer(
        precision=precision,
        devices=devices,
        console=console,
        callbacks=(LearningRateMonitor(), last, *([best] if keep_best else [])),
        max_epochs=epochs,
        accumulate_grad_batches=accumulate,
        gradient_clip_val=clip_norm,
        logger=[csv, tensorboard],
        log_every_n_steps=min(LOG_INTERVAL, schedule.steps),
        check_val_every_n_epoch=None,  # the interval counts batches over all epochs
        val_check_interval=max(1, num_batches // MIN_EVALUATIONS),
    )
