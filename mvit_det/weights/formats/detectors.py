"""A whole detector's weights under the names of Detectron2, and under those of torchvision.

The two name the modules around the backbone differently, and count the background as the last class
and as the first. Nothing else differs: a tensor is renamed, or its rows are moved, in either direction.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from mvit_det.errors import InputError

Weights = dict[str, Tensor]

BACKBONE, TORCHVISION_BACKBONE = "backbone.bottom_up.", "backbone.body."  # before a backbone's names
NUM_STAGES = 3  # of a cascade
NUM_CONVS = 4  # of a box head in a cascade, and of a mask head

# What an older file of Detectron2 holds beside weights; both homes work it out from the configuration.
COMPUTED = ("pixel_mean", "pixel_std", "proposal_generator.anchor_generator.")


def _modules() -> Iterator[tuple[str, str]]:
    """Yield Detectron2's and torchvision's name of each module with weights that has two.

    The backbone's differ by their beginning alone, and those of a box predictor are the same.
    """
    for level in range(4):
        yield f"backbone.fpn_lateral{level + 2}", f"backbone.fpn.inner_blocks.{level}.0"
        yield f"backbone.fpn_output{level + 2}", f"backbone.fpn.layer_blocks.{level}.0"

    yield "proposal_generator.rpn_head.conv", "rpn.head.conv.0.0"  # the only one, of Mask R-CNN
    for conv in range(2):
        yield f"proposal_generator.rpn_head.conv.conv{conv}", f"rpn.head.conv.{conv}.0"
    yield "proposal_generator.rpn_head.objectness_logits", "rpn.head.cls_logits"
    yield "proposal_generator.rpn_head.anchor_deltas", "rpn.head.bbox_pred"

    for layer in range(2):
        yield f"roi_heads.box_head.fc{layer + 1}", f"roi_heads.box_head.fc{layer + 6}"
    for head in (f"roi_heads.box_head.{stage}" for stage in range(NUM_STAGES)):
        for conv in range(NUM_CONVS):
            yield f"{head}.conv{conv + 1}", f"{head}.{conv}.0"
            yield f"{head}.conv{conv + 1}.norm", f"{head}.{conv}.1"
        yield f"{head}.fc1", f"{head}.{NUM_CONVS + 1}"

    for conv in range(NUM_CONVS):
        yield f"roi_heads.mask_head.mask_fcn{conv + 1}", f"roi_heads.mask_head.{conv}.0"
        yield f"roi_heads.mask_head.mask_fcn{conv + 1}.norm", f"roi_heads.mask_head.{conv}.1"
    yield "roi_heads.mask_head.deconv", "roi_heads.mask_predictor.conv5_mask"
    yield "roi_heads.mask_head.predictor", "roi_heads.mask_predictor.mask_fcn_logits"


MODULES = tuple(_modules())


def to_torchvision(weights: Mapping[str, Tensor]) -> Weights:
    """Return a detector's weights, named as Detectron2 does, as ``mvit_det.torchvision`` loads them.

    A tensor that this project's detectors do not have keeps its name, so that ``load_state_dict`` says
    what it was; what Detectron2 works out from its configuration is left out.

    Raises:
        InputError: if some are torchvision's already.
    """
    _refuse(weights, ("rpn.", TORCHVISION_BACKBONE), "torchvision's")
    names = dict(MODULES)
    return {
        _renamed(name, BACKBONE, TORCHVISION_BACKBONE, names): _moved(name, tensor, 1)
        for name, tensor in weights.items()
        if not name.startswith(COMPUTED)
    }


def to_detectron2(weights: Mapping[str, Tensor]) -> Weights:
    """Return a detector's weights, named as torchvision does, as Detectron2 loads them.

    A tensor that this project's detectors do not have keeps its name.

    Raises:
        InputError: if some are Detectron2's already.
    """
    _refuse(weights, ("proposal_generator.", BACKBONE), "Detectron2's")
    names = {theirs: ours for ours, theirs in MODULES}
    if not any(name.startswith("rpn.head.conv.1.") for name in weights):
        names["rpn.head.conv.0.0"] = "proposal_generator.rpn_head.conv"
    return {
        _renamed(name, TORCHVISION_BACKBONE, BACKBONE, names): _moved(name, tensor, -1)
        for name, tensor in weights.items()
    }


def _refuse(weights: Mapping[str, Tensor], prefixes: tuple[str, str], whose: str) -> None:
    for name in weights:
        if name.startswith(prefixes):
            raise InputError(f"weights with {whose} names, such as {name}, among others")


def _renamed(name: str, prefix: str, new_prefix: str, names: Mapping[str, str]) -> str:
    if name.startswith(prefix):
        return new_prefix + name.removeprefix(prefix)
    module, _, parameter = name.rpartition(".")
    return f"{names[module]}.{parameter}" if module in names else name


def _moved(name: str, tensor: Tensor, rows: int) -> Tensor:
    """Return a tensor with its classes moved by ``rows``, the last to the first place for 1."""
    module = name.rpartition(".")[0]
    is_score = module.startswith("roi_heads.box_predictor") and module.endswith(".cls_score")
    return torch.roll(tensor, rows, dims=0) if is_score and tensor.dim() else tensor
