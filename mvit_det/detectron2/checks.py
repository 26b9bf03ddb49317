"""What is checked before a run writes anything."""

from argparse import Namespace
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from mvit_det import run_folder
from mvit_det.detectron2.checkpoint import check_start, load_for_inference
from mvit_det.detectron2.config import build
from mvit_det.detectron2.datasets import check_dataset, registered_categories
from mvit_det.detectron2.trainer import PRECISIONS
from mvit_det.errors import InputError, unknown_name

NUMBERS = (  # key, type, lowest
    ("dataloader.train.total_batch_size", int, 1),
    ("optimizer.lr", (int, float), 0),
    ("train.reference_batch_size", int, 1),
    ("train.max_iter", int, 1),
    ("train.eval_period", int, 0),
    ("train.checkpointer.period", int, 1),
    ("train.checkpointer.max_to_keep", int, 1),
    ("train.log_period", int, 1),
    ("train.accumulate", int, 1),
    ("train.seed", int, float("-inf")),
)


def check_run(cfg: DictConfig, args: Namespace) -> None:
    """Check what a run needs: devices, data, weights, and a folder that holds no other run.

    Raises:
        InputError: naming what is missing or does not fit, and what would be right.
    """
    _check_numbers(cfg)
    _check_devices(cfg.train.device, args.num_gpus)
    if cfg.train.amp.precision not in PRECISIONS:
        raise unknown_name("train.amp.precision", cfg.train.amp.precision, PRECISIONS)
    for part in ("test",) if args.eval_only else ("train", "test"):
        names = build(cfg.dataloader[part].dataset.names)
        for name in [names] if isinstance(names, str) else names:
            check_dataset(name)
            num_classes = build(OmegaConf.select(cfg, "model.roi_heads.num_classes"))
            if num_classes is not None and num_classes != len(registered_categories(name)):
                raise InputError(
                    f"model.roi_heads.num_classes is {num_classes}, but data set {name} has "
                    f"{len(registered_categories(name))}"
                )
    model = _skeleton(cfg)
    folder, checkpoint = Path(cfg.train.output_dir), cfg.train.init_checkpoint
    run_folder.check_output(folder, names=(), overwrite=False, inputs=())
    if args.eval_only:
        if not checkpoint:
            raise InputError("train.init_checkpoint is not set: --eval-only needs the weights of a detector")
        load_for_inference(model, checkpoint)
        return
    _check_batch(cfg, args.num_gpus * args.num_machines)
    tag = folder / "last_checkpoint"
    if tag.is_file() and not args.resume:
        raise InputError(
            f"{folder}: already holds a run; add --resume to go on with it, or name another folder by "
            "train.output_dir=..."
        )
    if tag.is_file():
        load_for_inference(model, str(folder / tag.read_text().strip()))
    elif checkpoint:
        check_start(model, checkpoint)


def _check_numbers(cfg: DictConfig) -> None:
    for key, kind, lowest in NUMBERS:
        value = OmegaConf.select(cfg, key)
        if isinstance(value, DictConfig):  # worked out from the data
            continue
        if not isinstance(value, kind) or isinstance(value, bool) or not value >= lowest:
            wanted = "a whole number" if kind is int else "a number"
            raise InputError(f"{key} is {value!r}: expected {wanted} of at least {lowest}")
    clip_norm, decay = cfg.train.clip_norm, cfg.train.ema.decay
    if clip_norm is not None and not (isinstance(clip_norm, int | float) and clip_norm > 0):
        raise InputError(f"train.clip_norm is {clip_norm!r}: expected a number above 0, or null for no limit")
    if not (isinstance(decay, int | float) and 0 <= decay < 1):
        raise InputError(f"train.ema.decay is {decay!r}: expected a number from 0 to below 1")


def _skeleton(cfg: DictConfig) -> nn.Module:
    """Build the model without its weights, or with them where its own code computes as it is built."""
    try:
        with torch.device("meta"):
            return build(cfg.model)
    except RuntimeError:
        return build(cfg.model)


def _check_batch(cfg: DictConfig, num_processes: int) -> None:
    if num_processes < 1:
        raise InputError("--num-gpus and --num-machines: must be at least 1")
    parts = num_processes * cfg.train.accumulate
    batch_size = cfg.dataloader.train.total_batch_size
    if batch_size % parts:
        raise InputError(
            f"dataloader.train.total_batch_size {batch_size}: must be a multiple of {parts}, which is "
            f"{num_processes} processes x train.accumulate"
        )


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
