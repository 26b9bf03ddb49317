"""What the parts of a detector cost: parameters, multiply-adds and activations, counted without computing.

Norms, upsampling, activation functions, RoIAlign and non-maximum suppression are left out. The counter
of fvcore, and so of Detectron2, adds 5 for each element of a LayerNorm, 2 for each of a batch norm and 1
for each of an upsampled map: together less than half a percent.
"""

import argparse
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from detectron2.modeling import FPN, GeneralizedRCNN, StandardROIHeads
from detectron2.modeling.roi_heads import CascadeROIHeads
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from mvit_det.detectron2.lazy_config import build, load_config
from mvit_det.errors import InputError

# These give the published multiply-adds (see tests/detectron2/test_analysis.py). The two counts are the
# most that a detector lets through: the RPN's post_nms_topk, the box predictor's test_topk_per_image.
SIZE_HW = (800, 1280)  # px
NUM_REGIONS = 1000
NUM_DETECTIONS = 100


class Cost(NamedTuple):
    """The cost of a part.

    Attributes:
        parameters: their number.
        multiply_adds: of matrix products and convolutions.
        activations: elements in the outputs of matrix products and convolutions. Source: Designing
            Network Design Spaces, arXiv 2003.13678, section 3.
    """

    parameters: int
    multiply_adds: int
    activations: int


def analyze(
    model: GeneralizedRCNN,
    size_hw: tuple[int, int] | None = None,
    num_regions: int = NUM_REGIONS,
    num_detections: int = NUM_DETECTIONS,
) -> dict[str, Cost]:
    """Return name -> cost of each part of a detector on the meta device, and of all as ``"total"``.

    Args:
        model: a Mask R-CNN or Cascade Mask R-CNN on a feature pyramid.
        size_hw: height and width of a picture, px, before the model pads it. None takes the square of
            a model that pads to one, else ``SIZE_HW``.
        num_regions: regions that each box head sees.
        num_detections: regions that the mask head sees.

    Raises:
        InputError: if the model is another kind, a number is below 1, or the picture is larger than the
            square that the model pads to.
    """
    if not (
        isinstance(model, GeneralizedRCNN)
        and isinstance(model.backbone, FPN)
        and isinstance(model.roi_heads, StandardROIHeads)
    ):
        raise InputError(
            f"model is a {type(model).__name__}: expected GeneralizedRCNN with FPN and box heads"
        )
    side = model.backbone.padding_constraints["square_size"]
    height, width = size_hw or ((side, side) if side else SIZE_HW)
    for name, value in (
        ("size", min(height, width)),
        ("regions", num_regions),
        ("detections", num_detections),
    ):
        if value < 1:
            raise InputError(f"{name} {value}: must be at least 1")
    if side and max(height, width) > side:
        raise InputError(
            f"size {height} {width}: the model pads to {side} px square, so at most {side} {side}"
        )

    divisor = model.backbone.size_divisibility
    padded_hw = [side or -(-length // divisor) * divisor for length in (height, width)]

    model.eval()
    rpn, heads = model.proposal_generator, model.roi_heads
    with torch.device("meta"):
        images = torch.empty(1, len(model.pixel_mean), *padded_hw)
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


def table(costs: dict[str, Cost]) -> str:
    """Return the costs as lines of text, columns aligned."""
    lines = [f"{'':20}{'parameters':>14}{'multiply-adds, G':>18}{'activations, M':>16}"]
    for name, cost in costs.items():
        giga, mega = cost.multiply_adds / 1e9, cost.activations / 1e6
        lines.append(f"{name:20}{cost.parameters:14,}{giga:18,.1f}{mega:16,.1f}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table for a lazy config; ``argv`` is that of ``tools/analyze_model.py``."""
    parser = argparse.ArgumentParser(description="Parameters, multiply-adds and activations of a detector.")
    parser.add_argument("--config-file", required=True, help="a lazy config, such as those of configs/")
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="of a picture, px; 800 1280, or the square that the model pads to",
    )
    parser.add_argument("--regions", type=int, default=NUM_REGIONS, help="regions for each box head")
    parser.add_argument("--detections", type=int, default=NUM_DETECTIONS, help="regions for the mask head")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes to the config")
    args = parser.parse_intermixed_args(argv)
    cfg = load_config(args.config_file, args.overrides)
    with torch.device("meta"):
        model = build(cfg.model)
    print(table(analyze(model, args.size, args.regions, args.detections)))


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
