"""Whether a file of weights fits a model, before a run begins; and weights for inference."""

import pickle
import textwrap
import warnings
from typing import Any
from zipfile import BadZipFile

from detectron2.checkpoint import DetectionCheckpointer
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mvit_det.errors import InputError

Tensors = tuple[Tensor, ...] | list[Tensor]
EMA = "ema"  # where a checkpoint of a run keeps its averaged weights
OF_CLASSES = (
    "box_predictor",
    "mask_head.predictor",
    "head.cls_score",
)  # layers whose size follows from the classes


class _Checkpointer(DetectionCheckpointer):
    """Takes the averaged weights where there are any, and keeps what did not fit instead of logging it."""

    def _load_model(self, checkpoint: dict[str, Any]) -> Any:
        if EMA in checkpoint:
            averaged = checkpoint.pop(EMA)
            checkpoint["model"] = {
                k.removeprefix("module."): v for k, v in averaged.items() if k != "n_averaged"
            }
        return super()._load_model(checkpoint)

    def _log_incompatible_keys(self, incompatible: Any) -> None:
        self.incompatible = incompatible


def load_for_inference(model: nn.Module, path: str) -> None:
    """Load a whole detector; its averaged weights where the file holds any.

    Raises:
        InputError: if the file cannot be read, or is not one of this very model.
    """
    incompatible = _load(model, path)
    _refuse_shapes(path, incompatible.incorrect_shapes)
    if incompatible.missing_keys:
        missing = incompatible.missing_keys
        raise InputError(f"{path}: lacks {missing[0]} and {len(missing) - 1} more of this detector's weights")


def check_start(model: nn.Module, path: str) -> None:
    """Check that a training run can start from a file: from a detector, or from a backbone alone.

    Layers whose size follows from the number of classes may differ, and start at random.

    Args:
        model: may be on the meta device.
        path: a file or a URL that Detectron2 can load.

    Raises:
        InputError: if the file cannot be read, is one of another model, or has nothing for this one.
    """
    incompatible = _load(model, path)
    of_classes = [wrong for wrong in incompatible.incorrect_shapes if any(n in wrong[0] for n in OF_CLASSES)]
    _refuse_shapes(path, [wrong for wrong in incompatible.incorrect_shapes if wrong not in of_classes])
    if len(incompatible.missing_keys) == len(model.state_dict()):
        raise InputError(f"{path}: none of its weights has the name of one of this model's")


def _load(model: nn.Module, path: str) -> Any:
    """Load what fits; return the keys that are missing, and those of another shape with both shapes."""
    checkpointer = _Checkpointer(model)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*for .*: copying from a non-meta parameter")
            checkpointer.load(path)
        return checkpointer.incompatible
    except (OSError, LookupError, AttributeError, TypeError, ValueError, EOFError, AssertionError) as error:
        reason = str(error) or type(error).__name__
    except (RuntimeError, pickle.UnpicklingError, BadZipFile) as error:
        reason = f"is damaged, or no file of weights alone: {error}"
    raise InputError(f"{path}: {textwrap.shorten(reason, 200)}")


def _refuse_shapes(path: str, incorrect: list[tuple[str, tuple[int, ...], tuple[int, ...]]]) -> None:
    if incorrect:
        key, in_file, in_model = incorrect[0]
        raise InputError(
            f"{path}: {key} is {in_file} there and {in_model} here: another variant, head or number of "
            "classes"
        )


def averaged_copy(model: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of ``model`` whose weights follow it as an exponential moving average.

    Over the first steps the decay is less, (1 + steps) / (10 + steps), to let go of the start.
    """

    def update(averages: Tensors, weights: Tensors, num_averaged: Tensor | int) -> None:
        steps = int(num_averaged)
        get_ema_multi_avg_fn(min(decay, (1 + steps) / (10 + steps)))(averages, weights, num_averaged)

    return AveragedModel(model, multi_avg_fn=update)
