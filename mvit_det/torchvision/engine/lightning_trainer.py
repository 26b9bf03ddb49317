"""Lightning's Trainer for training and for evaluation."""

import logging
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from rich.console import Console
from torch.utils.data import DataLoader

from mvit_det.engine.interruption import is_handled
from mvit_det.engine.precision import PRECISIONS
from mvit_det.errors import InputError, out_of_memory_summary
from mvit_det.ops.allocator import keep_freed_memory
from mvit_det.report import run_folder
from mvit_det.torchvision.data.batching import AspectRatioBatchSampler
from mvit_det.torchvision.engine.checkpoint_files import CheckpointFiles
from mvit_det.torchvision.engine.evaluation_schedule import EarlyStop, EvaluateLastEpoch, default_interval
from mvit_det.torchvision.engine.interruption_callback import StopWhenInterrupted
from mvit_det.torchvision.engine.last_checkpoint import LastCheckpoint, SaveInterval
from mvit_det.torchvision.engine.lightning_module import BEST_BY, DetectorModule
from mvit_det.torchvision.engine.loggers import LogOptions, build_loggers
from mvit_det.torchvision.engine.options import TrainOptions
from mvit_det.torchvision.engine.processes import Processes
from mvit_det.torchvision.engine.progress import RunProgress
from mvit_det.torchvision.engine.resumption import Resumption, SeededBatches
from mvit_det.torchvision.engine.weight_averaging import AveragedWeights, BestAverage

LIGHTNING_PRECISIONS: dict[torch.dtype | None, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    None: "32-true",
    torch.bfloat16: "bf16-mixed",
    torch.float16: "16-mixed",
}
LOG_INTERVAL = 10  # steps


def build_trainer(
    *,
    autocast_dtype: torch.dtype | None,
    processes: Processes,
    console: Console,
    callbacks: tuple[L.Callback, ...] = (),
    **kwargs: Any,
) -> L.Trainer:
    """Return a Trainer for GPUs or, without a GPU, for the CPU, with this project's progress bar.

    Args:
        autocast_dtype: the dtype of autocast, or None for float32.
        processes: the processes of the run; with more than one, they train with DDP.
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
    warnings.filterwarnings("ignore", message="Grad strides do not match")  # by DDP; affects only speed
    trainer = L.Trainer(
        devices=processes.devices,
        num_nodes=processes.num_nodes,
        plugins=[processes.start(), CheckpointFiles()],
        strategy="ddp" if processes.world_size > 1 else "auto",
        precision=LIGHTNING_PRECISIONS[autocast_dtype],
        callbacks=[RunProgress(console), *callbacks],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        **kwargs,
    )
    if is_handled():
        # Lightning's handler of SIGTERM would replace ours; in several processes, it can wait without end.
        trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    return trainer


def fit(
    options: TrainOptions,
    processes: Processes,
    console: Console,
    module: DetectorModule,
    train_loader: DataLoader[Any],
    val_loader: DataLoader[Any] | None,
) -> L.Trainer:
    """Train a detector, from the start or from the last checkpoint; write logs and checkpoints.

    Args:
        options: the options of the run.
        processes: see :func:`build_trainer` for this argument and the next.
        module: the detector and its schedule.
        train_loader: the training batches of this process, from an :class:`AspectRatioBatchSampler`.
        val_loader: the validation images of this process, or None.

    Returns:
        The trainer, for further evaluations.

    Raises:
        InputError: if the GPU runs out of memory.
    """
    sampler, schedule = train_loader.batch_sampler, module.schedule
    assert isinstance(sampler, AspectRatioBatchSampler)
    assert schedule is not None
    last = options.out / run_folder.LAST
    trainer = build_trainer(
        autocast_dtype=PRECISIONS[options.precision],
        processes=processes,
        console=console,
        callbacks=tuple(_build_callbacks(options, sampler, console, keep_best=val_loader is not None)),
        max_epochs=schedule.epochs,
        accumulate_grad_batches=options.accumulate,
        gradient_clip_val=options.clip_norm,
        logger=build_loggers(options.out, options.logger if processes.rank == 0 else None),
        log_every_n_steps=min(LOG_INTERVAL, schedule.steps),
        check_val_every_n_epoch=options.eval_every or default_interval(schedule.epochs),
    )
    try:
        ckpt_path = last if options.resume else None
        trainer.fit(module, train_loader, val_loader, ckpt_path=ckpt_path, weights_only=True)
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"{out_of_memory_summary(error)}, with a batch_size of {options.batch_size}; to need less, lower "
            "batch_size and raise accumulate, set recompute to cheap or block, or lower size"
        ) from None
    return trainer


def _build_callbacks(
    options: TrainOptions, sampler: AspectRatioBatchSampler, console: Console, *, keep_best: bool
) -> list[L.Callback]:
    last = LastCheckpoint(options.out / run_folder.LAST, SaveInterval.parse(options.save_every))
    callbacks: list[L.Callback] = [
        Resumption(sampler, options.out / run_folder.LOGS),
        SeededBatches(options.seed),
        LearningRateMonitor(),
        last,
        StopWhenInterrupted(last),
        EvaluateLastEpoch(),
        LogOptions(asdict(options)),
    ]
    average = None if options.ema is None else AveragedWeights(options.ema)
    if average is not None:
        callbacks.append(average)
    if keep_best:
        callbacks.append(_best_checkpoint(options.out, average))
    if options.patience is not None:
        callbacks.append(EarlyStop(options.patience, console))
    return callbacks


def _best_checkpoint(out: Path, average: AveragedWeights | None) -> ModelCheckpoint:
    options: dict[str, Any] = {
        "dirpath": out,
        "filename": Path(run_folder.BEST).stem,
        "monitor": BEST_BY,
        "mode": "max",
        "save_weights_only": True,
        "save_on_train_epoch_end": False,
        "enable_version_counter": False,
    }
    return ModelCheckpoint(**options) if average is None else BestAverage(average, **options)
