"""The layers of the box heads: from the features of a region to class scores and box deltas."""

from collections.abc import Callable

from torch import nn
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead

from mvit_det.heads import Head
from mvit_det.torchvision.models.roi_pool import BOX_SIZE


def build_box_heads(head: Head, channels: int) -> nn.Module:
    """Return the box heads: (R, channels, 7, 7) -> (R, 4 * channels).

    A cascade has a ``ModuleList`` of box heads, any other head a single module: the parameter names in
    checkpoints depend on it.
    """
    if head.num_box_convs:
        return _one_per_stage(head, lambda: _convolutions(head, channels))
    return _one_per_stage(head, lambda: TwoMLPHead(channels * BOX_SIZE**2, 4 * channels))


def build_box_predictors(head: Head, channels: int, num_classes: int) -> nn.Module:
    """Return the box predictors, one per box head: (R, 4 * channels) -> class logits and box deltas.

    The logits are (R, num_classes), of which class 0 is the background. The deltas are (R, 4) in a cascade
    and (R, 4 * (num_classes - 1)) otherwise.
    """
    num_boxes = 1 if head.is_cascade else num_classes - 1

    def build() -> nn.Module:
        predictor = FastRCNNPredictor(4 * channels, num_classes)
        predictor.bbox_pred = nn.Linear(4 * channels, 4 * num_boxes)  # torchvision's has a background box
        return predictor

    return _one_per_stage(head, build)


def _one_per_stage(head: Head, build: Callable[[], nn.Module]) -> nn.Module:
    modules = [build() for _ in head.iou_thresholds]
    return nn.ModuleList(modules) if head.is_cascade else modules[0]


def _convolutions(head: Head, channels: int) -> nn.Module:
    return FastRCNNConvFCHead(
        (channels, BOX_SIZE, BOX_SIZE),
        [channels] * head.num_box_convs,
        [4 * channels],
        norm_layer=nn.BatchNorm2d if head.is_cascade else None,
    )
