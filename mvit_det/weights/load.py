"""Loads weights from a file into a model."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from mvit_det.backbone.classifier import MViTClassifier
from mvit_det.backbone.mvit import MViT
from mvit_det.errors import InputError
from mvit_det.weights.checkpoint import Checkpoint, identify_variant, read_checkpoint, strip_wrappers
from mvit_det.weights.formats import torchvision
from mvit_det.weights.formats.interface import BACKBONE, Weights
from mvit_det.weights.load_report import LoadReport
from mvit_det.weights.positions import resize_positions
from mvit_det.weights.sources import local_file

MIN_FILLED = 0.9  # fraction of the tensors in a backbone's blocks that a file must fill
CLASS_MODULES = (  # parts of the names of tensors that have one row per class
    "box_predictor",
    "mask_predictor",
    "mask_head.predictor",
    "head.cls_score",
    "head.weight",
    "head.bias",
)


def load_weights(model: nn.Module, source: str | Path, *, allow_partial: bool = False) -> LoadReport:
    """Load weights from a file into a model.

    The format, one of :data:`mvit_det.weights.formats.FORMATS`, is recognized by the names of the tensors.
    Weights of a backbone also load into a classifier or a detector, and weights of a detector load into a
    detector of either integration. Position tables of another size are resized. Nothing in the file is
    executed. If an error is raised, the model is unchanged.

    Args:
        model: an :class:`mvit_det.MViT`, an :class:`mvit_det.MViTClassifier`, or a detector of Detectron2 or
            torchvision that contains one; on any device.
        source: a path, a URL or the name of a published model; see :func:`mvit_det.weights.local_file`.
        allow_partial: whether to load what fits from a file of another variant or head, instead of raising
            an error.

    Returns:
        a report on each tensor.

    Raises:
        InputError: if the file cannot be read or contains no MViT for images; if it fills less than 90 % of
            the tensors in the backbone's blocks; if the shape of a tensor differs by more than the number of
            classes or positions; if a value is not finite; or if the model contains no MViT.
    """
    return load_checkpoint(model, read_checkpoint(local_file(source)), allow_partial=allow_partial)


def load_checkpoint(model: nn.Module, checkpoint: Checkpoint, *, allow_partial: bool = False) -> LoadReport:
    """Load a checkpoint into a model. :func:`load_weights` does the same with a file."""
    matched, report = _match(model, checkpoint, allow_partial)
    _copy(matched, model)
    return report


def load_all_weights(model: nn.Module, checkpoint: Checkpoint) -> LoadReport:
    """Load a checkpoint into a model, and require that it fills every tensor.

    Raises:
        InputError: as :func:`load_weights`; also if a tensor is missing or has another number of classes.
    """
    matched, report = _match(model, checkpoint, allow_partial=False)
    for keys, problem in ((report.missing, "lacks"), (report.class_mismatch, "has other classes in")):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise InputError(
                f"{checkpoint.path}: holds {checkpoint}, and {problem} {keys[0]}{more} of this model"
            )
    _copy(matched, model)
    return report


def _copy(weights: Mapping[str, Tensor], model: nn.Module) -> None:
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if strip_wrappers(key) in weights:
                tensor.copy_(weights[strip_wrappers(key)])


def _match(model: nn.Module, checkpoint: Checkpoint, allow_partial: bool) -> tuple[Weights, LoadReport]:
    """Return the new values of a model's tensors by name, and the report. Raises as :func:`load_weights`."""
    state = {strip_wrappers(key): tensor for key, tensor in model.state_dict().items()}
    prefix = _backbone_prefix(model)
    weights = _rename_for_model(checkpoint, state, prefix)

    matched: Weights = {}
    resized, class_mismatch, shape_mismatch = [], [], []
    for key, target in state.items():
        weight = weights.get(key)
        if weight is None:
            continue
        if weight.is_floating_point() != target.is_floating_point():
            shape_mismatch.append(key)
        elif weight.shape == target.shape:
            matched[key] = weight
        elif (positions := resize_positions(key, weight, target)) is not None:
            matched[key] = positions
            resized.append(key)
        elif weight.shape[1:] == target.shape[1:] and any(name in key for name in CLASS_MODULES):
            class_mismatch.append(key)
        else:
            shape_mismatch.append(key)

    if not allow_partial:
        _check_backbone(checkpoint, state, prefix, weights, matched, shape_mismatch)
    for key, weight in matched.items():
        if weight.is_floating_point() and not weight.is_meta and not weight.float().isfinite().all():
            raise InputError(f"{checkpoint.path}: {key} holds values that are not finite")
    return matched, LoadReport(
        description=f"{checkpoint.path.name}: {checkpoint}",
        loaded=tuple(key for key in matched if key not in resized),
        resized=tuple(resized),
        class_mismatch=tuple(class_mismatch),
        missing=tuple(key for key in state if key not in weights),
        shape_mismatch=tuple(shape_mismatch),
        unused=tuple(key for key in weights if key not in state),
    )


def _backbone_prefix(model: nn.Module) -> str:
    """Return the prefix of the backbone's or classifier's tensors in a model; it may be empty."""
    for name, module in model.named_modules():
        if isinstance(module, MViT | MViTClassifier):
            return strip_wrappers(f"{name}.") if name else ""
    raise InputError(f"a {type(model).__name__} contains no MViT to load weights into")


def _rename_for_model(checkpoint: Checkpoint, state: Mapping[str, Tensor], prefix: str) -> Weights:
    """Return a checkpoint's weights under the names of a model."""
    if checkpoint.kind != "detector":
        return {prefix + key: weight for key, weight in checkpoint.weights.items()}
    if torchvision.recognize(state):
        return torchvision.from_our_names(checkpoint.weights)
    return {
        prefix + key.removeprefix(BACKBONE) if key.startswith(BACKBONE) else key: weight
        for key, weight in checkpoint.weights.items()
    }


def _check_backbone(
    checkpoint: Checkpoint,
    state: Mapping[str, Tensor],
    prefix: str,
    weights: Mapping[str, Tensor],
    matched: Mapping[str, Tensor],
    shape_mismatch: list[str],
) -> None:
    """Raise an InputError if a checkpoint fills too few tensors of the blocks, or if shapes differ."""
    block_keys = [key for key in state if key.startswith(f"{prefix}blocks.")]
    unfilled = [key for key in block_keys if key not in matched]
    filled = 1 - len(unfilled) / len(block_keys)
    problems = unfilled if filled < MIN_FILLED else shape_mismatch
    if not problems:
        return
    key = problems[0]
    own_weights = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    variant = identify_variant(own_weights) or "MViT"
    actual = f"has the shape {tuple(weights[key].shape)}" if key in weights else "is missing"
    raise InputError(
        f"{checkpoint.path}: holds {checkpoint}, and fills {filled:.0%} of the blocks of this {variant}: "
        f"{key} {actual} in the file and {tuple(state[key].shape)} in the model; in Python, "
        "allow_partial=True loads what fits"
    )
