"""Exponential moving average of the weights."""

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Tensors = tuple[Tensor, ...] | list[Tensor]
EMA = "ema"  # key of the averaged weights in a checkpoint


def averaged_copy(model: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of ``model`` that holds an exponential moving average of its weights.

    The decay is the smaller of ``decay`` and (1 + steps) / (10 + steps), so that the influence of the initial
    weights declines sooner.
    """

    def update(averages: Tensors, weights: Tensors, num_averaged: Tensor | int) -> None:
        steps = int(num_averaged)
        get_ema_multi_avg_fn(min(decay, (1 + steps) / (10 + steps)))(averages, weights, num_averaged)

    return AveragedModel(model, multi_avg_fn=update)
