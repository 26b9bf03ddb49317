"""Published weights into a model, and what became of each of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mvit_det.backbone.abs_pos import absolute_positions
from mvit_det.backbone.classifier import MViTClassifier
from mvit_det.backbone.mvit import MViT
from mvit_det.errors import InputError
from mvit_det.weights.checkpoint import Checkpoint, read_checkpoint, unwrapped, variant_of
from mvit_det.weights.formats.detectors import BACKBONE, Weights, to_torchvision
from mvit_det.weights.reading.download import local_file

MIN_SHARE = 0.9  # of a backbone's tensors that a file of its weights fills
OF_CLASSES = (
    "box_predictor",
    "mask_predictor",
    "mask_head.predictor",
    "head.cls_score",
    "head.weight",
    "head.bias",
)


@dataclass(frozen=True)
class LoadReport:
    """What became of the weights of a file, by the model's names.

    Attributes:
        description: what the file holds.
        loaded: filled as they are.
        resized: filled with relative or absolute positions of another size.
        of_other_classes: left at random, since the file's have another number of classes.
        missing: left at random, since the file has none: heads, or the norms of a detector's stages.
        unfit: of another shape in the file, and left at random.
        unused: in the file, and not in the model.
    """

    description: str
    loaded: tuple[str, ...]
    resized: tuple[str, ...]
    of_other_classes: tuple[str, ...]
    missing: tuple[str, ...]
    unfit: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        rows = (
            ("loaded", self.loaded),
            ("resized", self.resized),
            ("other classes, left at random", self.of_other_classes),
            ("not in the file, left at random", self.missing),
            ("of another shape, left at random", self.unfit),
            ("in the file alone, not used", self.unused),
        )
        lines = [f"{label:<34}{len(keys):>6}  {_places(keys)}" for label, keys in rows if keys]
        return "\n".join([self.description, *lines])


def load_weights(model: nn.Module, source: str | Path, *, allow_partial: bool = False) -> LoadReport:
    """Load published or own weights into a model; all that fits, or with an error nothing.

    It takes what the MViTv2 repository, timm, SlowFast, Detectron2 and this project write, and tells them
    apart by their keys. A backbone's weights go into a detector or a classifier too, and a
    detector's from either home into the other. Positions of another size are resized: relative ones
    linearly, absolute ones by bicubic interpolation. Nothing in a file is executed.

    Args:
        model: an :class:`mvit_det.MViT`, an :class:`mvit_det.MViTClassifier`, or a detector of
            Detectron2 or torchvision that has one inside; on any device.
        source: a path, a URL (fetched once), or ``detectron2://`` and a name.
        allow_partial: take what fits of a file of another variant or another head.

    Returns:
        what became of each tensor; as a string, a table of a few lines.

    Raises:
        InputError: if the file cannot be used, if it fills less than 90 % of the tensors of the backbone's
            blocks, or if a tensor has another shape that neither classes nor positions explain.
    """
    return load_checkpoint(model, read_checkpoint(local_file(source)), allow_partial=allow_partial)


def load_checkpoint(model: nn.Module, checkpoint: Checkpoint, *, allow_partial: bool = False) -> LoadReport:
    """:func:`load_weights` for a file that is read already."""
    found, report = _fit(model, checkpoint, allow_partial)
    _fill(model, found)
    return report


def load_all_weights(model: nn.Module, checkpoint: Checkpoint) -> LoadReport:
    """Load a model of which the file has every weight: :func:`load_checkpoint`, but nothing may be missing.

    Raises:
        InputError: naming what the file lacks, or has of another shape or for other classes.
    """
    found, report = _fit(model, checkpoint, allow_partial=False)
    for keys, wrong in ((report.missing, "lacks"), (report.of_other_classes, "has other classes in")):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise InputError(
                f"{checkpoint.path}: holds {checkpoint}, and {wrong} {keys[0]}{more} of this model"
            )
    _fill(model, found)
    return report


def _fill(model: nn.Module, found: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if unwrapped(key) in found:
                tensor.copy_(found[unwrapped(key)])


def _fit(model: nn.Module, checkpoint: Checkpoint, allow_partial: bool) -> tuple[Weights, LoadReport]:
    """Return what a model's tensors are to be, and the report; errors are those of :func:`load_weights`."""
    state = {unwrapped(key): tensor for key, tensor in model.state_dict().items()}
    body = next(
        (name for name, module in model.named_modules() if isinstance(module, MViT | MViTClassifier)), None
    )
    if body is None:
        raise InputError(f"a {type(model).__name__} has no MViT inside to load weights into")
    prefix = unwrapped(f"{body}.") if body else ""
    weights = _for_model(checkpoint, state, prefix)

    found: dict[str, Tensor] = {}
    resized, of_other_classes, unfit = [], [], []
    for key, current in state.items():
        weight = weights.get(key)
        if weight is None:
            continue
        if weight.is_floating_point() != current.is_floating_point():
            unfit.append(key)
        elif weight.shape == current.shape:
            found[key] = weight
        elif (fitted := _resized(key, weight, current)) is not None:
            found[key] = fitted
            resized.append(key)
        elif weight.shape[1:] == current.shape[1:] and any(name in key for name in OF_CLASSES):
            of_other_classes.append(key)
        else:
            unfit.append(key)

    blocks = [key for key in state if key.startswith(f"{prefix}blocks.")]
    unfilled = [key for key in blocks if key not in found]
    share = 1 - len(unfilled) / len(blocks)
    wrong = unfilled if share < MIN_SHARE else unfit
    if wrong and not allow_partial:
        own = variant_of({key.removeprefix(prefix): tensor for key, tensor in state.items()}) or "MViT"
        there = f"is {tuple(weights[wrong[0]].shape)} there" if wrong[0] in weights else "is not there"
        raise InputError(
            f"{checkpoint.path}: holds {checkpoint}, and fills {share:.0%} of the blocks of this {own}: "
            f"{wrong[0]} {there} and {tuple(state[wrong[0]].shape)} here; in Python, allow_partial=True "
            "takes what fits"
        )
    for key, weight in found.items():
        if weight.is_floating_point() and not weight.is_meta and not weight.float().isfinite().all():
            raise InputError(f"{checkpoint.path}: {key} holds values that are not finite")
    return found, LoadReport(
        description=f"{checkpoint.path.name}: {checkpoint}",
        loaded=tuple(key for key in found if key not in resized),
        resized=tuple(resized),
        of_other_classes=tuple(of_other_classes),
        missing=tuple(key for key in state if key not in weights),
        unfit=tuple(unfit),
        unused=tuple(key for key in weights if key not in state),
    )


def _for_model(checkpoint: Checkpoint, state: Mapping[str, Tensor], prefix: str) -> Weights:
    """Return the weights under the names of a model whose backbone's begin with ``prefix``."""
    if checkpoint.kind != "detector":
        return {prefix + key: weight for key, weight in checkpoint.weights.items()}
    if any(key.startswith("rpn.head.") for key in state):
        return to_torchvision(checkpoint.weights)
    return {
        prefix + key.removeprefix(BACKBONE) if key.startswith(BACKBONE) else key: weight
        for key, weight in checkpoint.weights.items()
    }


def _resized(key: str, weight: Tensor, current: Tensor) -> Tensor | None:
    """Return positions at the size of ``current``, or None for what is no table of positions."""
    if weight.dim() != current.dim() or weight.shape[-1] != current.shape[-1] or not weight.numel():
        return None
    if key.endswith(("rel_pos_h", "rel_pos_w")):
        return F.interpolate(weight.float().T[None], size=len(current), mode="linear")[0].T
    if key.endswith("pos_embed"):
        side, target = (int(positions.shape[1] ** 0.5) for positions in (weight, current))
        tokens = weight.shape[1] - side**2  # 1 with a class token, which comes first
        if tokens in (0, 1) and tokens == current.shape[1] - target**2:
            square = absolute_positions(weight.float(), (target, target), has_class_token=tokens == 1)
            return torch.cat([weight[:, :tokens].float(), square.flatten(1, 2)], dim=1)
    return None


def _places(keys: Sequence[str]) -> str:
    """Return in which modules keys are, with how many in each."""
    depth = 1 + any(key.startswith(("backbone.", "roi_heads.", "proposal_generator.")) for key in keys)
    counts = Counter(".".join(key.split(".")[:depth]) for key in keys)
    return ", ".join(f"{place} {number}" for place, number in counts.items())
