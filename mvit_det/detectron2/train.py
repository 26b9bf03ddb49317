"""Training and evaluation of a lazy config on Detectron2's launcher, hooks and evaluator."""

import logging
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.engine import default_argument_parser, default_setup, default_writers, hooks, launch
from detectron2.engine.defaults import create_ddp_model
from detectron2.evaluation import inference_on_dataset, print_csv_format
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.multiprocessing.spawn import ProcessExitedException

from mvit_det.backbone import MViT
from mvit_det.detectron2.checkpoint import EMA, averaged_copy, check_start, load_for_inference
from mvit_det.detectron2.config import build, load_config, override_keys
from mvit_det.detectron2.datasets import check_dataset, registered_categories
from mvit_det.detectron2.hooks import KeepBest, ProgressBar, UpdateAverage
from mvit_det.detectron2.loader import TrainLoader
from mvit_det.detectron2.trainer import PRECISIONS, Trainer
from mvit_det.errors import InputError, one_line_errors, unknown_name
from mvit_det.memory import keep_pages

EPILOG = """examples:
  train_net.py --config-file configs/mask_rcnn_mvitv2_t_3x.py --num-gpus 8
  train_net.py --config-file configs/mask_rcnn_mvitv2_t_3x.py --num-gpus 8 --resume
  train_net.py --config-file configs/mask_rcnn_mvitv2_t_3x.py --eval-only train.init_checkpoint=model_best.pth
  on each of two machines:
  train_net.py --config-file ... --num-gpus 8 --num-machines 2 --machine-rank 0 --dist-url tcp://HOST:PORT
"""

Results = dict[str, dict[str, float]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``tools/train_net.py``.

    Raises:
        InputError: before anything is written, for what cannot be used.
    """
    args = default_argument_parser(EPILOG).parse_args(arguments)
    check_run(load_config(args.config_file, args.opts), args)
    try:
        launch(
            _run,
            args.num_gpus,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=args.dist_url,
            args=(args,),
        )
    except ProcessExitedException as error:  # it has said why
        sys.exit(error.exit_code)


def _run(args: Namespace) -> None:
    cfg = load_config(args.config_file, args.opts)
    if cfg.train.device == "cpu":
        keep_pages()
    with one_line_errors():
        if args.eval_only:
            setup_logger(distributed_rank=comm.get_rank())
            evaluate(cfg)
        else:
            train(cfg, args)


def check_run(cfg: DictConfig, args: Namespace) -> None:
    """Check what a run needs: devices, data, weights, and a folder that holds no other run.

    Raises:
        InputError: naming what is missing or does not fit, and what would be right.
    """
    _check_devices(cfg.train.device, args.num_gpus)
    if cfg.train.amp.precision not in PRECISIONS:
        raise unknown_name("train.amp.precision", cfg.train.amp.precision, PRECISIONS)
    parts = args.num_gpus * args.num_machines * cfg.train.accumulate
    batch_size = cfg.dataloader.train.total_batch_size
    if parts < 1 or batch_size < 1 or batch_size % parts:
        raise InputError(
            f"dataloader.train.total_batch_size {batch_size}: must be a multiple of {parts}, which is "
            f"{args.num_gpus * args.num_machines} processes x train.accumulate"
        )
    for part in ("test",) if args.eval_only else ("train", "test"):
        names = build(cfg.dataloader[part].dataset.names)
        for name in [names] if isinstance(names, str) else names:
            check_dataset(name)
            classes, num_classes = registered_categories(name), build(cfg.model.roi_heads.num_classes)
            if len(classes) != num_classes:
                raise InputError(
                    f"model.roi_heads.num_classes is {num_classes}, but data set {name} has {len(classes)} classes"
                )
    folder, checkpoint = Path(cfg.train.output_dir), cfg.train.init_checkpoint
    with torch.device("meta"):
        model = build(cfg.model)
    if args.eval_only:
        if not checkpoint:
            raise InputError("train.init_checkpoint is not set: --eval-only needs the weights of a detector")
        load_for_inference(model, checkpoint)
    elif args.resume:
        if not (folder / "last_checkpoint").is_file():
            raise InputError(f"{folder}: holds no checkpoint to resume from; leave --resume out")
        last = folder / (folder / "last_checkpoint").read_text().strip()
        load_for_inference(model, str(last))
    else:
        if (folder / "last_checkpoint").exists() or (folder / "metrics.json").exists():
            raise InputError(
                f"{folder}: already holds a run; add --resume to go on with it, or name another folder by "
                "train.output_dir=..."
            )
        if checkpoint:
            check_start(model, checkpoint)


def _check_devices(device: str, num_gpus: int) -> None:
    available = torch.cuda.device_count()
    if device == "cpu":
        if num_gpus > 1 and available:
            raise InputError(
                "train.device=cpu: hide the GPUs by CUDA_VISIBLE_DEVICES= to run processes on it"
            )
    elif not available:
        raise InputError(f"train.device {device!r}: this machine has no GPU; add train.device=cpu")
    elif num_gpus > available:
        raise InputError(f"--num-gpus {num_gpus}: this machine has {available}")


def evaluate(cfg: DictConfig) -> Results:
    """Evaluate ``train.init_checkpoint``, and print the table of average precisions, in percent."""
    model = build(cfg.model).to(cfg.train.device)
    load_for_inference(model, cfg.train.init_checkpoint)
    return _evaluate(cfg, model)


def _evaluate(cfg: DictConfig, model: nn.Module) -> Results:
    if "output_dir" not in cfg.dataloader.evaluator:
        cfg.dataloader.evaluator.output_dir = os.path.join(cfg.train.output_dir, "inference")
    results = inference_on_dataset(model, build(cfg.dataloader.test), build(cfg.dataloader.evaluator))
    if comm.is_main_process():
        print_csv_format(results)
    return results


def train(cfg: DictConfig, args: Namespace) -> None:
    """Train a config from its start, or go on from the last checkpoint of its folder.

    Args:
        cfg: ``model``, ``dataloader``, ``optimizer``, ``lr_multiplier`` and ``train``, of which
            ``configs/common/train.py`` says what each key does.
        args: ``resume``, and ``opts``, whose keys are not scaled to the batch.
    """
    default_setup(cfg, args)
    logger = setup_logger(cfg.train.output_dir, distributed_rank=comm.get_rank(), name="mvit_det")
    logger.info(scale_to_batch(cfg, override_keys(args.opts)))

    settings = cfg.train
    folder = Path(settings.output_dir)
    model = build(cfg.model).to(settings.device)
    cfg.optimizer.params.model = model
    optimizer = build(cfg.optimizer)
    loader = build(cfg.dataloader.train)
    average = averaged_copy(model, settings.ema.decay) if settings.ema.enabled else None
    if settings.compile:
        for module in model.modules():
            if isinstance(module, MViT):
                module.compile(dynamic=True)
    device_ids = {"device_ids": None} if settings.device == "cpu" else {}
    parallel = create_ddp_model(model, **settings.ddp, **device_ids)
    trainer = Trainer(
        parallel,
        loader,
        optimizer,
        accumulate=settings.accumulate,
        precision=settings.amp.precision if settings.amp.enabled else None,
        clip_norm=settings.clip_norm,
        seed=settings.seed if settings.seed >= 0 else None,
    )
    averages = {} if average is None else {EMA: average}
    checkpointer = DetectionCheckpointer(parallel, str(folder), trainer=trainer, **averages)
    evaluated = model if average is None else average.module
    keep_best = KeepBest(evaluated, folder, settings.best_metric)

    def evaluate_and_keep() -> Results:
        results = _evaluate(cfg, evaluated)
        if comm.is_main_process():
            keep_best(results)
        return results

    is_main = comm.is_main_process()
    writers = default_writers(str(folder), settings.max_iter) if is_main else []
    trainer.register_hooks(
        [
            hooks.IterationTimer(),
            hooks.LRScheduler(scheduler=build(cfg.lr_multiplier)),
            None if average is None else UpdateAverage(average, model),
            hooks.EvalHook(settings.eval_period, evaluate_and_keep),
            keep_best,
            hooks.PeriodicCheckpointer(checkpointer, **settings.checkpointer) if is_main else None,
            hooks.PeriodicWriter(writers, period=settings.log_period) if is_main else None,
            ProgressBar() if is_main and sys.stderr.isatty() else None,
        ]
    )
    checkpointer.resume_or_load(settings.init_checkpoint, resume=args.resume)
    start = trainer.iter + 1 if args.resume else 0
    if isinstance(loader, TrainLoader):
        loader.start = start
    trainer.train(start, settings.max_iter)


def scale_to_batch(cfg: DictConfig, given: set[str]) -> str:
    """Scale the learning rate and the steps of a config to its batch, and return a line on it.

    The rate grows and the steps shrink in proportion to ``dataloader.train.total_batch_size`` over
    ``train.reference_batch_size``. Keys in ``given`` stay as they are, and so do steps that are worked
    out from the data set. Source: "Accurate, Large Minibatch SGD", arXiv 1706.02677, for the linear rule.
    """
    batch_size = cfg.dataloader.train.total_batch_size
    factor = batch_size / cfg.train.reference_batch_size if cfg.train.scale_to_batch else 1.0
    if "optimizer.lr" not in given:
        cfg.optimizer.lr *= factor
    for key in ("train.max_iter", "train.eval_period", "train.checkpointer.period"):
        value: Any = OmegaConf.select(cfg, key)
        if isinstance(value, DictConfig):
            OmegaConf.update(cfg, key, build(value), force_add=True)
        elif key not in given:
            OmegaConf.update(cfg, key, round(value / factor))
    return (
        f"{batch_size} pictures a step, the reference is {cfg.train.reference_batch_size}: learning rate "
        f"{cfg.optimizer.lr:g}, {cfg.train.max_iter} steps, an evaluation every {cfg.train.eval_period}, a "
        f"checkpoint every {cfg.train.checkpointer.period}"
        + ("" if cfg.train.scale_to_batch else " (train.scale_to_batch is off)")
    )
