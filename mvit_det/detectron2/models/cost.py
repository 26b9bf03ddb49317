"""Parameters, multiply-adds and activations of the parts of a detector, counted on the meta device.

Norms, upsampling, activation functions, RoIAlign and non-maximum suppression are not counted. fvcore, which
Detectron2 uses, counts 5 operations per element of a LayerNorm, 2 of a batch norm and 1 of an upsampled map.
Together these are less than 0.5 % of the total.
"""

from typing import Any, NamedTuple

import torch
from detectron2.modeling import FPN, GeneralizedRCNN, StandardROIHeads
from detectron2.modeling.roi_heads import CascadeROIHeads
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from mvit_det.errors import InputError

# The published multiply-adds are those of this image size and of the largest possible numbers of regions (the
# RPN's post_nms_topk) and detections (the box predictor's test_topk_per_image). See
# tests/detectron2/models/test_cost.py.
SIZE_HW = (800, 1280)  # px
NUM_REGIONS = 1000
NUM_DETECTIONS = 100


class Cost(NamedTuple):
    """The cost of a part of a detector.

    Attributes:
        parameters: number of parameters.
        multiply_adds: multiply-adds in matrix products and convolutions.
        activations: elements in the outputs of matrix products and convolutions. Source: Designing
            Network Design Spaces, arXiv 2003.13678, section 3.
    """

    parameters: int
    multiply_adds: int
    activations: int


def count_costs(
    model: GeneralizedRCNN,
    size_hw: tuple[int, int] | None = None,
    num_regions: int = NUM_REGIONS,
    num_detections: int = NUM_DETECTIONS,
) -> dict[str, Cost]:
    """Return the cost of each part of a detector by name, and their sum as ``"total"``.

    Args:
        model: an R-CNN with a feature pyramid, with or without cascades and masks, on the meta device.
        size_hw: height and width of the image in pixels, before padding. With None, it is the
            square that the model pads to, or ``SIZE_HW`` if it does not pad to a square.
        num_regions: number of regions that each box head processes.
        num_detections: number of regions that the mask head processes.

    Raises:
        InputError: if the model is not such a detector, if a number is below 1, or if the image is larger
            than the square that the model pads to.
    """
    if not (
        isinstance(model, GeneralizedRCNN)
        and isinstance(model.backbone, FPN)
        and isinstance(model.roi_heads, StandardROIHeads)
    ):
        raise InputError(
            f"model is a {type(model).__name__}: expected GeneralizedRCNN with FPN and box heads"
        )
    for name, value in (
        ("size", min(size_hw or SIZE_HW)),
        ("regions", num_regions),
        ("detections", num_detections),
    ):
        if value < 1:
            raise InputError(f"{name} {value}: must be at least 1")

    model.eval()
    rpn, heads = model.proposal_generator, model.roi_heads
    with torch.device("meta"):
        images = torch.empty(1, len(model.pixel_mean), *_padded_hw(model.backbone, size_hw))
        bottom_up, _ = _cost(model.backbone.bottom_up, images)
        backbone, maps = _cost(model.backbone, images)
        pyramid = Cost(*(whole - part for whole, part in zip(backbone, bottom_up, strict=True)))
        costs = {"backbone bottom-up": bottom_up, "feature pyramid": pyramid}
        costs["RPN"], _ = _cost(rpn.rpn_head, [maps[name] for name in rpn.in_features])

        channels = maps[heads.box_in_features[0]].shape[1]
        regions = torch.empty(num_regions, channels, *heads.box_pooler.output_size)
        stages = {"box head": (heads.box_head, heads.box_predictor)}
        if isinstance(heads, CascadeROIHeads):
            pairs = zip(heads.box_head, heads.box_predictor, strict=True)
            stages = {f"box head {number}": pair for number, pair in enumerate(pairs, start=1)}
        for name, pair in stages.items():
            costs[name], _ = _cost(nn.Sequential(*pair), regions)
        if heads.mask_on:
            regions = torch.empty(num_detections, channels, *heads.mask_pooler.output_size)
            costs["mask head"], _ = _cost(nn.Sequential(*heads.mask_head), regions)
    costs["total"] = Cost(*map(sum, zip(*costs.values(), strict=True)))
    return costs


def _padded_hw(backbone: FPN, size_hw: tuple[int, int] | None) -> tuple[int, int]:
    """Return height and width of the image after padding, in pixels."""
    side = backbone.padding_constraints["square_size"]
    if side:
        if size_hw and max(size_hw) > side:
            height, width = size_hw
            raise InputError(
                f"size {height} {width}: the model pads to {side} px square; expected at most {side} {side}"
            )
        return side, side
    divisor = backbone.size_divisibility
    height, width = (-(-length // divisor) * divisor for length in size_hw or SIZE_HW)
    return height, width


def _cost(module: nn.Module, inputs: Any) -> tuple[Cost, Any]:
    """Return the cost of a module, and its output."""
    flops = FlopCounterMode(display=False)
    activations = FlopCounterMode(display=False, custom_mapping=dict.fromkeys(flop_registry, _num_outputs))
    with torch.no_grad(), flops, activations:
        output = module(inputs)
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return Cost(parameters, flops.get_total_flops() // 2, activations.get_total_flops()), output


def _num_outputs(*_: Any, out_shape: torch.Size, **__: Any) -> int:
    return out_shape.numel()
