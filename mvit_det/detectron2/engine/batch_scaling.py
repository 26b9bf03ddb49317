"""Scale the learning rate and the number of steps with the batch size."""

from collections.abc import Collection
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mvit_det.detectron2.lazy_config import build
from mvit_det.errors import counted


def scale_to_batch(cfg: DictConfig, fixed_keys: Collection[str]) -> str:
    """Scale the learning rate and the numbers of steps in a config, and return a line that reports them.

    With ``factor`` = ``dataloader.train.total_batch_size`` / ``train.reference_batch_size``, the learning
    rate is multiplied and the numbers of steps are divided by ``factor``. Numbers of steps that are
    computed from the data set are not divided.

    Source of the linear scaling rule: Accurate, Large Minibatch SGD, arXiv 1706.02677.

    Args:
        cfg: the config, changed in place.
        fixed_keys: keys whose values are not scaled.
    """
    batch_size = cfg.dataloader.train.total_batch_size
    factor = batch_size / cfg.train.reference_batch_size if cfg.train.scale_to_batch else 1.0
    if "optimizer.lr" not in fixed_keys:
        cfg.optimizer.lr *= factor
    for key in ("train.max_iter", "train.eval_period", "train.checkpointer.period"):
        value: Any = OmegaConf.select(cfg, key)
        if isinstance(value, DictConfig):
            OmegaConf.update(cfg, key, build(value), force_add=True)
        elif key not in fixed_keys:
            OmegaConf.update(cfg, key, round(value / factor))
    return (
        f"{counted(batch_size, 'image')} per step, the reference is {cfg.train.reference_batch_size}: "
        f"learning rate {cfg.optimizer.lr:g}, {counted(cfg.train.max_iter, 'step')}, "
        f"an evaluation every {cfg.train.eval_period}, a checkpoint every {cfg.train.checkpointer.period}"
        + ("" if cfg.train.scale_to_batch else " (train.scale_to_batch is off)")
    )
