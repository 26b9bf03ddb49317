"""The averaged copy of a model."""

from torch import nn
from torch.optim.swa_utils import AveragedModel

from mvit_det.engine.averaging import ema_update

EMA = "ema"  # key of the averaged weights in a checkpoint


def averaged_copy(model: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of ``model`` that holds an exponential moving average of its weights.

    See :func:`mvit_det.engine.averaging.ema_update` for the decay.
    """
    return AveragedModel(model, multi_avg_fn=ema_update(decay))
