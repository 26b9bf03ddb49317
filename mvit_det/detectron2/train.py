"""Training and evaluation of a lazy config on Detectron2's launcher, hooks and evaluator."""

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from detectron2.checkpoint import DetectionCheckpointer
from detectron2.engine import default_argument_parser, default_setup, default_writers, hooks, launch
from detectron2.engine.defaults import create_ddp_model
from detectron2.evaluation import inference_on_dataset, print_csv_format
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError
from torch import nn
from torch.multiprocessing.spawn import ProcessExitedException

from mvit_det.backbone.mvit import MViT
from mvit_det.detectron2.data.train_loader import TrainLoader
from mvit_det.detectron2.engine.batch_scaling import scale_to_batch
from mvit_det.detectron2.engine.ema import EMA, averaged_copy
from mvit_det.detectron2.engine.hooks import BEST, KeepBest, ProgressBar, UpdateAverage
from mvit_det.detectron2.engine.run_checks import check_run
from mvit_det.detectron2.engine.trainer import Trainer
from mvit_det.detectron2.lazy_config import build, load_config
from mvit_det.errors import InputError, one_line_errors
from mvit_det.ops.allocator import keep_freed_memory
from mvit_det.weights import load_all_weights, load_weights, local_file, read_checkpoint

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
    try:
        check_run(load_config(args.config_file, args.opts), args)
    except ConfigAttributeError as error:
        raise InputError(f"{error.full_key} is missing: configs/common/train.py has what is needed") from None
    try:
        launch(
            _run,
            args.num_gpus,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=args.dist_url,
            args=(args,),
        )
    except ProcessExitedException as error:
        if error.exit_code < 0:  # killed from outside
            raise SystemExit(str(error)) from None
        sys.exit(error.exit_code)  # it has said why


def _run(args: Namespace) -> None:
    cfg = load_config(args.config_file, args.opts)
    if cfg.train.device == "cpu":
        keep_freed_memory()
    with one_line_errors():
        if args.eval_only:
            setup_logger(distributed_rank=comm.get_rank())
            evaluate(cfg)
        else:
            train(cfg, args)


def evaluate(cfg: DictConfig) -> Results:
    """Evaluate ``train.init_checkpoint``, and print the table of average precisions, in percent."""
    model = build(cfg.model).to(cfg.train.device)
    load_all_weights(model, read_checkpoint(local_file(cfg.train.init_checkpoint)))
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
    logger.info(scale_to_batch(cfg, given={option.partition("=")[0] for option in args.opts}))

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
    precision = settings.amp.precision if settings.amp.enabled else None
    parallel = _parallelize(model, settings, precision)
    trainer = Trainer(
        parallel,
        loader,
        optimizer,
        accumulate=settings.accumulate,
        precision=precision,
        clip_norm=settings.clip_norm,
        seed=settings.seed if settings.seed >= 0 else None,
    )
    averages = {} if average is None else {EMA: average}
    checkpointer = DetectionCheckpointer(parallel, str(folder), trainer=trainer, **averages)
    is_main = comm.is_main_process()
    evaluated = model if average is None else average.module
    is_resumed = args.resume and checkpointer.has_checkpoint()
    keep_best = KeepBest(evaluated, folder / BEST, settings.best_metric)
    save = hooks.PeriodicCheckpointer(checkpointer, **settings.checkpointer)
    save.recent_checkpoints = sorted(map(str, folder.glob("model_[0-9]*.pth")))  # of the run before
    writers = default_writers(str(folder), settings.max_iter) if is_main else []

    def evaluate_and_keep() -> Results:
        results = _evaluate(cfg, evaluated)
        if is_main:
            keep_best(results)
        return results

    trainer.register_hooks(
        [
            hooks.IterationTimer(),
            hooks.LRScheduler(scheduler=build(cfg.lr_multiplier)),
            ProgressBar() if is_main and sys.stderr.isatty() else None,
            None if average is None else UpdateAverage(average, model),
            save if is_main else None,
            hooks.EvalHook(settings.eval_period, evaluate_and_keep),
            hooks.PeriodicWriter(writers, period=settings.log_period) if is_main else None,
        ]
    )
    rates = [group["lr"] for group in optimizer.param_groups]
    if is_resumed:
        checkpointer.resume_or_load("", resume=True)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["initial_lr"] = rate  # of the config, not of the checkpoint
    elif settings.init_checkpoint:
        logger.info(load_weights(model, settings.init_checkpoint))
    start = trainer.iter + 1 if is_resumed else 0
    if start > settings.max_iter:
        raise InputError(f"train.max_iter is {settings.max_iter}, but {folder} has run {start} steps")
    if start == settings.max_iter:
        checkpointer.save("model_final")  # its writing may have been what was interrupted
    if isinstance(loader, TrainLoader):
        loader.start = start
    trainer.train(start, settings.max_iter)


def _parallelize(model: nn.Module, settings: DictConfig, precision: str | None) -> nn.Module:
    """Wrap a model for the exchange of gradients where there are several processes."""
    options = dict(settings.ddp)
    if precision != "fp16":  # without its scaling, compressed gradients would overflow
        options["fp16_compression"] = False
    if settings.device == "cpu":
        options["device_ids"] = None
    return create_ddp_model(model, **options)
