"""Train the model of a lazy config."""

import logging
import sys
from argparse import Namespace
from functools import partial
from pathlib import Path

from detectron2.engine import default_setup, hooks
from detectron2.engine.defaults import create_ddp_model
from detectron2.utils import comm
from omegaconf import DictConfig
from torch import nn

from mvit_det.backbone.mvit import MViT
from mvit_det.detectron2.data.train_loader import TrainLoader
from mvit_det.detectron2.data.user_data import (
    detector_config,
    has_validation_set,
    log_data,
    release_training_set,
)
from mvit_det.detectron2.engine.batch_scaling import scale_to_batch
from mvit_det.detectron2.engine.checkpointer import BEST, Checkpointer, periodic_checkpoints
from mvit_det.detectron2.engine.ema import EMA, averaged_copy
from mvit_det.detectron2.engine.evaluation import evaluate_model
from mvit_det.detectron2.engine.evaluation_hook import Evaluation
from mvit_det.detectron2.engine.event_writers import build_writers, remove_repeated_steps
from mvit_det.detectron2.engine.hooks import (
    KeepBest,
    ProgressBar,
    Results,
    StopEarly,
    StoppedEarly,
    TimedEvaluation,
    UpdateAverage,
)
from mvit_det.detectron2.engine.interruption_hook import StopWhenInterrupted
from mvit_det.detectron2.engine.logs import set_up_logs
from mvit_det.detectron2.engine.trainer import Trainer
from mvit_det.detectron2.lazy_config import build
from mvit_det.engine.ending import resumable
from mvit_det.engine.stop_request import FAILED
from mvit_det.errors import ImageError, InputError, counted
from mvit_det.report.run_folder import last_checkpoint
from mvit_det.weights import load_weights

EVALUATED = "last_evaluation"  # holds the number of steps before the last evaluation


def train(cfg: DictConfig, args: Namespace) -> None:
    """Train from the start, or resume from the last checkpoint in ``train.output_dir``.

    Args:
        cfg: ``model``, ``dataloader``, ``optimizer``, ``lr_multiplier`` and ``train``, whose keys
            ``configs/common/train.py`` describes.
        args: the flags of ``tools/train_net.py``. The keys in ``args.opts`` are not scaled with the batch.

    Raises:
        ImageError: if an image is removed or changes during the run; a checkpoint is saved before.
    """
    set_up_logs(cfg.train.output_dir)
    default_setup(cfg, args)
    logger = logging.getLogger(__name__)
    logger.info(scale_to_batch(cfg, fixed_keys={option.partition("=")[0] for option in args.opts}))

    has_val = has_validation_set(cfg)
    log_data(cfg, ["train", "val"] if has_val else ["train"])

    settings, folder = cfg.train, Path(cfg.train.output_dir)
    model = build(cfg.model).to(settings.device)
    average = averaged_copy(model, settings.ema.decay) if settings.ema.enabled else None
    trainer = _build_trainer(cfg, model)
    release_training_set(cfg)
    averages = {} if average is None else {EMA: average}
    config = detector_config(cfg)
    checkpointer = Checkpointer(trainer.model, str(folder), config=config, trainer=trainer, **averages)
    evaluated = model if average is None else average.module
    keep_best = KeepBest(evaluated, folder / BEST, settings.best_metric, config)
    evaluation = TimedEvaluation(partial(_evaluate_and_keep_best, cfg, evaluated, keep_best, trainer))
    patience = settings.patience
    stop_when_interrupted = StopWhenInterrupted(checkpointer)
    stop_early = None if patience is None else StopEarly(keep_best, patience, settings.eval_period)
    is_main = comm.is_main_process()
    trainer.register_hooks(
        [
            hooks.IterationTimer(),
            hooks.LRScheduler(scheduler=build(cfg.lr_multiplier)),
            ProgressBar() if is_main and sys.stderr.isatty() else None,
            None if average is None else UpdateAverage(average, model),
            _checkpoint_hook(checkpointer, settings, folder) if is_main else None,
            stop_when_interrupted,
            Evaluation(settings.eval_period, evaluation, folder / EVALUATED) if has_val else None,
            hooks.PeriodicWriter(build_writers(cfg, evaluation), settings.log_period) if is_main else None,
            stop_early,
        ]
    )
    start = _load_start(settings, trainer, checkpointer, model, args.resume)
    if is_main:
        remove_repeated_steps(folder, start)
    with resumable(partial(last_checkpoint, folder)):
        try:
            trainer.train(start, settings.max_iter)
        except StoppedEarly:
            checkpointer.save("model_final", iteration=trainer.iter)
            logger.info(stop_early)
        except ImageError as error:
            stop_when_interrupted.save(FAILED)
            trainer.stop_request.raise_error(error)


def _build_trainer(cfg: DictConfig, model: nn.Module) -> Trainer:
    settings = cfg.train
    cfg.optimizer.params.model = model
    optimizer, loader = build(cfg.optimizer), build(cfg.dataloader.train)
    if settings.compile:
        _compile_backbone(model)
    precision = settings.amp.precision if settings.amp.enabled else None
    return Trainer(
        _parallelize(model, settings, precision),
        loader,
        optimizer,
        accumulate=settings.accumulate,
        precision=precision,
        clip_norm=settings.clip_norm,
        seed=settings.seed if settings.seed >= 0 else None,
    )


def _load_start(
    settings: DictConfig,
    trainer: Trainer,
    checkpointer: Checkpointer,
    model: nn.Module,
    resume: bool,
) -> int:
    """Load what the run starts from, and return the number of steps that have been run already."""
    start, folder = 0, settings.output_dir
    if resume and checkpointer.has_checkpoint():
        start = _resume(trainer, checkpointer)
    elif settings.init_checkpoint:
        logging.getLogger(__name__).info(load_weights(model, settings.init_checkpoint))
    if start > settings.max_iter:
        raise InputError(
            f"train.max_iter is {settings.max_iter}, but {folder} has run {counted(start, 'step')}"
        )
    if start == settings.max_iter:
        checkpointer.copy_last("model_final")  # the run may have been killed while it wrote this file
    if isinstance(trainer.data_loader, TrainLoader):
        trainer.data_loader.first_batch = start
    return start


def _evaluate_and_keep_best(
    cfg: DictConfig, model: nn.Module, keep_best: KeepBest, trainer: Trainer
) -> Results:
    results = evaluate_model(cfg, model)
    if comm.is_main_process():
        keep_best(results, min(trainer.iter, cfg.train.max_iter - 1))  # it is one more after training
    return results


def _compile_backbone(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, MViT):
            module.compile(dynamic=True)


def _parallelize(model: nn.Module, settings: DictConfig, precision: str | None) -> nn.Module:
    """Wrap a model in ``DistributedDataParallel`` if there are several processes."""
    options = dict(settings.ddp)
    if precision != "fp16":  # without gradient scaling, gradients compressed to fp16 could overflow
        options["fp16_compression"] = False
    if settings.device == "cpu":
        options["device_ids"] = None
    return create_ddp_model(model, **options)


def _checkpoint_hook(
    checkpointer: Checkpointer, settings: DictConfig, folder: Path
) -> hooks.PeriodicCheckpointer:
    hook = hooks.PeriodicCheckpointer(checkpointer, **settings.checkpointer)
    # Checkpoints that were written before a run was resumed count toward max_to_keep.
    hook.recent_checkpoints = list(map(str, periodic_checkpoints(folder)))
    return hook


def _resume(trainer: Trainer, checkpointer: Checkpointer) -> int:
    """Load the last checkpoint, except for the learning rate, and return the next step."""
    groups = trainer.optimizer.param_groups
    rates = [group["lr"] for group in groups]
    checkpointer.resume_or_load("", resume=True)
    for group, rate in zip(groups, rates, strict=True):
        group["initial_lr"] = rate
    next_step: int = trainer.iter + 1
    return next_step
