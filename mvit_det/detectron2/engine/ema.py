"""Weights averaged over a run."""

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Tensors = tuple[Tensor, ...] | list[Tensor]
EMA = "ema"  # where a checkpoint of a run keeps its averaged weights


def averaged_copy(model: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of ``model`` whose weights follow it as an exponential moving average.

    Over the first steps the decay is less, (1 + steps) / (10 + steps), to let go of the start.
    """

    def update(averages: Tensors, weights: Tensors, num_averaged: Tensor | int) -> None:
        steps = int(num_averaged)
        get_ema_multi_avg_fn(min(decay, (1 + steps) / (10 + steps)))(averages, weights, num_averaged)

    return AveragedModel(model, multi_avg_fn=update)
