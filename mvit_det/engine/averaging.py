"""Exponential moving average of the weights of a model."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

Tensors = tuple[Tensor, ...] | list[Tensor]


def ema_update(decay: float) -> Callable[[Any, Any, Any], None]:
    """Return the update of an exponential moving average, for ``AveragedModel(multi_avg_fn=...)``.

    The decay is the smaller of ``decay`` and (1 + steps) / (10 + steps), so that the influence of the initial
    weights declines sooner.

    Source: TensorFlow's ``tf.train.ExponentialMovingAverage`` with ``num_updates``.
    """

    def update(averages: Tensors, weights: Tensors, num_averaged: Tensor | int) -> None:
        steps = int(num_averaged)
        get_ema_multi_avg_fn(min(decay, (1 + steps) / (10 + steps)))(averages, weights, num_averaged)

    return update
