"""What the parts of a detector cost: parameters, multiply-adds and activations, counted without computing.

Norms, activation functions, pooling of regions and non-maximum suppression are left out.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from detectron2.modeling import FPN, GeneralizedRCNN, StandardROIHeads
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from mvit_det.detectron2.config import build, load_config
from mvit_det.errors import InputError

# With these the published multiply-adds come out (see tests/detectron2/test_analysis.py); the counts are
# the most that the detectors let through, in RPN.post_nms_topk and FastRCNNOutputLayers.test_topk_per_image.
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
        raise InputError(f"model is a {type(model).__name__}: expected GeneralizedRCNN with FPN and box heads")
    side = model.backbone.padding_constraints["square_size"]
    height, width = size_hw or ((side, side) if side else SIZE_HW)
    for name, value in (("size", min(height, width)), ("regions", num_regions), ("detections", num_detections)):
        if value < 1:
            raise InputError(f"{name} {value}: must be at least 1")
    if side and max(height, width) > side:
        raise InputError(f"size {height} {width}: the model pads to {side} px square, so at most {side} {side}")

    model.eval()
    rpn, heads = model.proposal_generator, model.roi_heads
    with torch.device("meta"):
        images = model.preprocess_image([{"image": torch.empty(3, height, width)}]).tensor
        maps = model.backbone(images)
        channels = next(iter(maps.values())).shape[1]
        regions = torch.empty(num_regions, channels, *heads.box_pooler.output_size)

        bottom_up = _cost([model.backbone.bottom_up], lambda: model.backbone.bottom_up(images))
        backbone = _cost([model.backbone], lambda: model.backbone(images))
        pyramid = Cost(*(whole - part for whole, part in zip(backbone, bottom_up, strict=True)))
        costs = {
            "backbone bottom-up": bottom_up,
            "feature pyramid": pyramid,
            "RPN": _cost([rpn], lambda: rpn.rpn_head([maps[name] for name in rpn.in_features])),
        }
        stages = list(zip(_modules(heads.box_head), _modules(heads.box_predictor), strict=True))
        for number, (head, predictor) in enumerate(stages, start=1):
            name = f"box head {number}" if len(stages) > 1 else "box head"
            costs[name] = _cost([head, predictor], lambda h=head, p=predictor: p(h(regions)))
        if heads.mask_on:
            masks = torch.empty(num_detections, channels, *heads.mask_pooler.output_size)
            costs["mask head"] = _cost([heads.mask_head], lambda: heads.mask_head.layers(masks))
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
        "--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="of a picture, px (default: 800 1280)"
    )
    parser.add_argument("--regions", type=int, default=NUM_REGIONS, help="regions for each box head")
    parser.add_argument("--detections", type=int, default=NUM_DETECTIONS, help="regions for the mask head")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes to the config")
    args = parser.parse_args(argv)
    cfg = load_config(args.config_file, args.overrides)
    with torch.device("meta"):
        model = build(cfg.model)
    print(table(analyze(model, args.size, args.regions, args.detections)))


def _cost(modules: list[nn.Module], run: Callable[[], Any]) -> Cost:
    flops = FlopCounterMode(display=False)
    activations = FlopCounterMode(display=False, custom_mapping=dict.fromkeys(flop_registry, _num_outputs))
    with torch.no_grad(), flops, activations:
        run()
    parameters = sum(parameter.numel() for module in modules for parameter in module.parameters())
    return Cost(parameters, flops.get_total_flops() // 2, activations.get_total_flops())


def _num_outputs(*_: Any, out_shape: torch.Size, **__: Any) -> int:
    return out_shape.numel()


def _modules(head: nn.Module) -> list[nn.Module]:
    """Return the heads of a cascade, or the only one."""
    return list(head) if isinstance(head, nn.ModuleList) else [head]
