"""Detectors of ``mvit_det.torchvision``.

torchvision has other names for the modules around the backbone than Detectron2, and its background is the
first class instead of the last. There are no other differences.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from mvit_det.errors import InputError
from mvit_det.heads import HEADS, Head
from mvit_det.weights.formats.interface import BACKBONE, Weights

BODY = "backbone.body."  # prefix of the backbone in a torchvision detector
NUM_MASK_CONVS = 4  # in every head that predicts masks
RPN, TORCHVISION_RPN = "proposal_generator.rpn_head", "rpn.head"

# Tensors that older files of Detectron2 contain, but that both integrations compute from the configuration.
COMPUTED = ("pixel_mean", "pixel_std", "proposal_generator.anchor_generator.")


def recognize(weights: Mapping[str, Tensor]) -> bool:
    """Return whether the weights have the names of a torchvision detector."""
    return any(key.startswith(f"{TORCHVISION_RPN}.") for key in weights)


def to_our_names(weights: Mapping[str, Tensor]) -> Weights:
    """Return the weights of a torchvision detector under the names of Detectron2.

    Unknown tensors keep their names.

    Raises:
        InputError: if a tensor already has a name of Detectron2.
    """
    _refuse_names(weights, ("proposal_generator.", BACKBONE), "Detectron2's", "torchvision's")
    names = {theirs: ours for ours, theirs in MODULES.items()}
    has_one_rpn_conv = not any(key.startswith(f"{TORCHVISION_RPN}.conv.1.") for key in weights)
    names[f"{TORCHVISION_RPN}.conv.0.0"] = f"{RPN}.conv" if has_one_rpn_conv else f"{RPN}.conv.conv0"
    return {
        _renamed(key, BODY, BACKBONE, names): _with_classes_rolled(key, weight, -1)
        for key, weight in weights.items()
    }


def from_our_names(weights: Mapping[str, Tensor]) -> Weights:
    """Return the weights of a Detectron2 detector under the names of ``mvit_det.torchvision``.

    Unknown tensors keep their names. Tensors that are computed from the configuration are left out.

    Raises:
        InputError: if a tensor already has a name of torchvision.
    """
    _refuse_names(weights, ("rpn.", BODY), "torchvision's", "Detectron2's")
    return {
        _renamed(key, BACKBONE, BODY, MODULES): _with_classes_rolled(key, weight, 1)
        for key, weight in weights.items()
        if not key.startswith(COMPUTED)
    }


def _module_names(head: Head) -> Iterator[tuple[str, str]]:
    """Yield the name in Detectron2 and the name in torchvision of each module that has two names.

    The MViT itself is left out, because only its prefix differs.
    """
    for level in range(4):
        yield f"backbone.fpn_lateral{level + 2}", f"backbone.fpn.inner_blocks.{level}.0"
        yield f"backbone.fpn_output{level + 2}", f"backbone.fpn.layer_blocks.{level}.0"

    for conv in range(head.num_rpn_convs):
        name = f"{RPN}.conv" if head.num_rpn_convs == 1 else f"{RPN}.conv.conv{conv}"
        yield name, f"{TORCHVISION_RPN}.conv.{conv}.0"
    yield f"{RPN}.objectness_logits", f"{TORCHVISION_RPN}.cls_logits"
    yield f"{RPN}.anchor_deltas", f"{TORCHVISION_RPN}.bbox_pred"

    for stage in range(len(head.iou_thresholds)):
        box_head = f"roi_heads.box_head.{stage}" if head.is_cascade else "roi_heads.box_head"
        for conv in range(head.num_box_convs):
            yield f"{box_head}.conv{conv + 1}", f"{box_head}.{conv}.0"
            yield f"{box_head}.conv{conv + 1}.norm", f"{box_head}.{conv}.1"
        if head.num_box_convs:
            yield f"{box_head}.fc1", f"{box_head}.{head.num_box_convs + 1}"  # after a Flatten
        else:
            yield f"{box_head}.fc1", f"{box_head}.fc6"
            yield f"{box_head}.fc2", f"{box_head}.fc7"

    if head.has_masks:
        for conv in range(NUM_MASK_CONVS):
            yield f"roi_heads.mask_head.mask_fcn{conv + 1}", f"roi_heads.mask_head.{conv}.0"
            yield f"roi_heads.mask_head.mask_fcn{conv + 1}.norm", f"roi_heads.mask_head.{conv}.1"
        yield "roi_heads.mask_head.deconv", "roi_heads.mask_predictor.conv5_mask"
        yield "roi_heads.mask_head.predictor", "roi_heads.mask_predictor.mask_fcn_logits"


# Name of a module in Detectron2 -> its name in torchvision, for all heads.
MODULES = {ours: theirs for head in HEADS.values() for ours, theirs in _module_names(head)}


def _refuse_names(
    weights: Mapping[str, Tensor], prefixes: tuple[str, ...], actual: str, expected: str
) -> None:
    for key in weights:
        if key.startswith(prefixes):
            raise InputError(f"weights with {actual} names, such as {key!r:.80}; expected only {expected}")


def _renamed(key: str, prefix: str, new_prefix: str, names: Mapping[str, str]) -> str:
    if key.startswith(prefix):
        return new_prefix + key.removeprefix(prefix)
    module, _, parameter = key.rpartition(".")
    return f"{names[module]}.{parameter}" if module in names else key


def _with_classes_rolled(key: str, weight: Tensor, shift: int) -> Tensor:
    """Roll the rows of a tensor by ``shift`` if it has one row per class score; return others unchanged.

    A shift of 1 moves the last row to the front, and -1 moves the first row to the end.
    """
    module = key.rpartition(".")[0]
    is_score = module.startswith("roi_heads.box_predictor") and module.endswith(".cls_score")
    return torch.roll(weight, shift, dims=0) if is_score and weight.dim() else weight
