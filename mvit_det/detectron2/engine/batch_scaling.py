"""The learning rate and the steps that follow from the batch."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from mvit_det.detectron2.lazy_config import build


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
