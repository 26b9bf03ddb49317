"""Weights for a run of Detectron2, checked before it begins; and weights averaged over a run."""

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mvit_det.errors import InputError
from mvit_det.weights import LoadReport, load_weights

Tensors = tuple[Tensor, ...] | list[Tensor]
EMA = "ema"  # where a checkpoint of a run keeps its averaged weights


def load_for_inference(model: nn.Module, source: str) -> LoadReport:
    """Load a whole detector; its averaged weights where the file holds any.

    Args:
        model: may be on the meta device.
        source: as :func:`mvit_det.weights.load_weights` takes it.

    Raises:
        InputError: if the file cannot be used, or is not one of this very model.
    """
    report = load_for_training(model, source)
    for keys, wrong in (
        (report.missing, "lacks the weights"),
        (report.of_other_classes, "has other classes in"),
    ):
        if keys:
            raise InputError(f"{source}: {wrong} {keys[0]} and {len(keys) - 1} more of this detector's")
    return report


def load_for_training(model: nn.Module, source: str) -> LoadReport:
    """Load what a run starts from: a detector, or a backbone alone.

    Layers whose size follows from the number of classes may differ, and start at random; arguments
    and errors are those of :func:`load_for_inference`.
    """
    report = load_weights(model, source)
    if report.unfit:
        raise InputError(f"{source}: {report.unfit[0]} has another shape there: another variant or head")
    return report


def averaged_copy(model: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of ``model`` whose weights follow it as an exponential moving average.

    Over the first steps the decay is less, (1 + steps) / (10 + steps), to let go of the start.
    """

    def update(averages: Tensors, weights: Tensors, num_averaged: Tensor | int) -> None:
        steps = int(num_averaged)
        get_ema_multi_avg_fn(min(decay, (1 + steps) / (10 + steps)))(averages, weights, num_averaged)

    return AveragedModel(model, multi_avg_fn=update)
