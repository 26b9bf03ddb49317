"""Checks of a run, made before training or evaluation writes anything."""

import re
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from mvit_det.detectron2.data.lvis import check_lvis
from mvit_det.detectron2.data.registration import check_dataset, registered_categories
from mvit_det.detectron2.data.user_data import has_validation_set, names_data
from mvit_det.detectron2.engine.checkpointer import check_start
from mvit_det.detectron2.engine.half_precision import evaluation_dtype
from mvit_det.detectron2.engine.tta_settings import check_tta
from mvit_det.detectron2.lazy_config import build
from mvit_det.engine.launchers import count_cores, find_launch
from mvit_det.engine.precision import PRECISIONS
from mvit_det.engine.trackers import check_tracker
from mvit_det.errors import InputError, counted, unknown_name
from mvit_det.report import run_folder
from mvit_det.weights import load_all_weights, local_file, read_checkpoint
from mvit_det.weights.published import DETECTOR, VITDET_DETECTOR

NUMBERS = (  # key, type, minimum
    ("dataloader.train.total_batch_size", int, 1),
    ("dataloader.train.num_workers", int, 0),
    ("dataloader.test.num_workers", int, 0),
    ("optimizer.lr", (int, float), 0),
    ("train.reference_batch_size", int, 1),
    ("train.max_iter", int, 1),
    ("train.eval_period", int, 0),
    ("train.checkpointer.period", int, 1),
    ("train.checkpointer.max_to_keep", int, 1),
    ("train.log_period", int, 1),
    ("train.accumulate", int, 1),
    ("train.seed", int, -1),
)
METRIC = r"(bbox|segm|keypoints)/AP(50|75|s|m|l|r|c|f|-.+)?"


def check_run(cfg: DictConfig, args: Namespace) -> None:
    """Check everything that a run needs: values, devices, data, weights and the output folder.

    Args:
        cfg: the config of the run.
        args: the flags of ``tools/train_net.py``.

    Raises:
        InputError: if a check fails. The message names the bad value and what is expected.
    """
    for key in sorted(_missing_keys(OmegaConf.to_container(cfg, resolve=False))):
        raise InputError(f"{key} is not set: add {key}=...")
    _check_values(cfg)
    _check_devices(cfg.train.device, args)
    _check_data(cfg, args.eval_only)
    model = _build_on_meta(cfg)
    run_folder.check_output(Path(cfg.train.output_dir), names=(), overwrite=False, inputs=())
    if args.eval_only:
        check_tta(cfg, model)
        evaluation_dtype(cfg)
        _check_detector_weights(model, cfg.train.init_checkpoint)
        return
    _check_batch(cfg, args.num_gpus * args.num_machines)
    cfg.optimizer.params.model = model
    build(cfg.optimizer)
    build(cfg.lr_multiplier)
    check_start(cfg, model, args.resume)


def check_classes(cfg: DictConfig, num_categories: int) -> None:
    """Check that the model predicts as many classes as its data set, or else its checkpoint, has categories.

    Raises:
        InputError: if the numbers differ. The message names the key of the config.
    """
    for key in ("model.roi_heads.num_classes", "model.num_classes"):
        num_classes = build(OmegaConf.select(cfg, key))
        if num_classes not in (None, num_categories):
            classes = counted(num_categories, "class", "classes")
            source = "the data set" if "data" not in cfg or names_data(cfg) else "the checkpoint"
            raise InputError(f"{key} is {num_classes}, but {source} has {classes}")


def _missing_keys(node: Any, prefix: str = "") -> Iterator[str]:
    """Yield the keys whose value is ``"???"``.

    ``OmegaConf.missing_keys`` cannot be used: it fails if another key refers to a missing one.
    """
    if isinstance(node, dict | list):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _missing_keys(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(node, str) and node == "???":
        yield prefix


def _check_values(cfg: DictConfig) -> None:
    for key, kind, minimum in NUMBERS + ((("train.epochs", int, 1),) if "epochs" in cfg.train else ()):
        value = OmegaConf.select(cfg, key)
        if isinstance(value, DictConfig):  # computed from the data set
            continue
        if not isinstance(value, kind) or isinstance(value, bool) or not value >= minimum:
            expected = "an integer" if kind is int else "a number"
            raise InputError(f"{key} is {value!r}: expected {expected} of at least {minimum}")
    patience = cfg.train.patience
    if patience is not None and (type(patience) is not int or patience < 1):
        raise InputError(f"train.patience is {patience!r}: expected an integer of at least 1, or null")
    if patience is not None and cfg.train.eval_period == 0:
        raise InputError(f"train.patience is {patience}: needs a train.eval_period of at least 1")
    check_tracker(cfg.train.logger)
    clip_norm, decay = cfg.train.clip_norm, cfg.train.ema.decay
    if clip_norm is not None and not (isinstance(clip_norm, int | float) and clip_norm > 0):
        raise InputError(f"train.clip_norm is {clip_norm!r}: expected a number above 0, or null for no limit")
    if not (isinstance(decay, int | float) and 0 <= decay < 1):
        raise InputError(f"train.ema.decay is {decay!r}: expected a number of at least 0 and below 1")
    if cfg.train.seed >= 2**31:
        raise InputError(f"train.seed is {cfg.train.seed}: expected an integer below 2**31")
    half = [name for name, dtype in PRECISIONS.items() if dtype is not None]
    if cfg.train.amp.precision not in half:
        raise unknown_name("train.amp.precision", cfg.train.amp.precision, half)
    if not re.fullmatch(METRIC, str(cfg.train.best_metric)):
        raise InputError(
            f"train.best_metric is {cfg.train.best_metric!r}: expected a name such as bbox/AP or segm/AP50"
        )
    if not cfg.train.output_dir or not isinstance(cfg.train.output_dir, str):
        raise InputError(f"train.output_dir is {cfg.train.output_dir!r}: expected a folder")


def _check_devices(device: str, args: Namespace) -> None:
    num_gpus, available = args.num_gpus, torch.cuda.device_count()
    if num_gpus < 1 or args.num_machines < 1:
        raise InputError("--num-gpus and --num-machines: must be at least 1")
    if not 0 <= args.machine_rank < args.num_machines:
        raise InputError(f"--machine-rank {args.machine_rank}: must be from 0 to {args.num_machines - 1}")
    if not re.fullmatch(r"auto|env://.*|file://.+|tcp://.+:\d+", args.dist_url):
        raise InputError(f"--dist-url {args.dist_url}: expected tcp://HOST:PORT, or auto on one machine")
    if args.dist_url == "auto" and args.num_machines > 1 and find_launch() is None:
        raise InputError(f"--num-machines {args.num_machines}: needs --dist-url tcp://HOST:PORT of machine 0")
    if device == "cpu":
        if num_gpus > 1 and available:
            raise InputError(
                "train.device=cpu: to run several processes on the CPU, hide the GPUs with "
                "CUDA_VISIBLE_DEVICES="
            )
        num_cores = count_cores()
        if num_gpus > num_cores:
            raise InputError(f"--num-gpus {num_gpus}: this machine has {counted(num_cores, 'CPU core')}")
    elif not available:
        raise InputError(f"train.device {device!r}: this machine has no GPU; add train.device=cpu")
    elif num_gpus > available:
        raise InputError(f"--num-gpus {num_gpus}: this machine has {available}")


def _check_data(cfg: DictConfig, eval_only: bool) -> None:
    loaders = {"train": not eval_only, "test": eval_only or has_validation_set(cfg)}
    for loader in (loader for loader, is_used in loaders.items() if is_used):
        names = build(cfg.dataloader[loader].dataset.names)  # reads the user's data, and every image
        for name in [names] if isinstance(names, str) else names:
            check_dataset(name)
            check_classes(cfg, len(registered_categories(name)))
            if loader == "test":
                check_lvis(name)
    if not eval_only and cfg.train.patience is not None and not loaders["test"]:
        raise InputError(f"train.patience is {cfg.train.patience}, but there is no validation set")
    if not eval_only:
        build(cfg.dataloader.train.mapper)  # whose mask format requires masks


def _build_on_meta(cfg: DictConfig) -> nn.Module:
    """Build the model on the meta device, or on the CPU if its constructor computes with values."""
    try:
        with torch.device("meta"):
            return build(cfg.model)
    except RuntimeError:
        return build(cfg.model)


def _check_batch(cfg: DictConfig, num_processes: int) -> None:
    parts = num_processes * cfg.train.accumulate
    batch_size = cfg.dataloader.train.total_batch_size
    if batch_size % parts:
        raise InputError(
            f"dataloader.train.total_batch_size {batch_size}: must be a multiple of {parts}, which is "
            f"{counted(num_processes, 'process', 'processes')} x train.accumulate"
        )


def _check_detector_weights(model: nn.Module, checkpoint: str) -> None:
    if not checkpoint:
        raise InputError("train.init_checkpoint is not set: --eval-only needs the weights of a detector")
    load_all_weights(model, read_checkpoint(local_file(checkpoint, DETECTOR, VITDET_DETECTOR)))
