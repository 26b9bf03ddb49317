"""MViT under torchvision's feature pyramid and Mask R-CNN heads."""

from collections.abc import Mapping
from inspect import signature
from typing import Any

from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from mvit_det.backbone.mvit import MViT, build_mvit
from mvit_det.errors import unknown_name
from mvit_det.torchvision.models.cascade_heads import CascadeHeads, box_predictor
from mvit_det.torchvision.models.roi_heads import DetectionHeads
from mvit_det.torchvision.models.roi_pool import RegionPool
from mvit_det.torchvision.models.rpn import ASPECT_RATIOS, Anchors, ProposalNetwork
from mvit_det.torchvision.models.transform import DetectorTransform

LEVELS = ("p2", "p3", "p4", "p5", "p6")
# torchvision drops a keyword that it does not know without a word.
KEYWORDS = {*signature(MaskRCNN).parameters, "size_divisible", "_skip_resize"} - {"kwargs"}

# Channels of the pyramid and of the convolutions in the heads; the fully connected layers have four
# times as many. The nano variant's heads are as small as its backbone, so that both train on a CPU.
CHANNELS, CHANNELS_OF = 256, {"mvitv2_nano": 64}
HEAD_DEFAULTS: dict[str, Any] = {"rpn_post_nms_top_n_train": 1000}
HEAD_DEFAULTS_OF: dict[str, dict[str, Any]] = {
    "mvitv2_nano": {
        "box_batch_size_per_image": 128,
        "rpn_pre_nms_top_n_train": 500,
        "rpn_pre_nms_top_n_test": 500,
        "rpn_post_nms_top_n_train": 500,
        "rpn_post_nms_top_n_test": 300,
    }
}


class MViTWithFPN(nn.Module):
    """Backbone of a torchvision detector: (N, 3, H, W) -> ``"p2"`` to ``"p6"``, (N, out_channels, h, w).

    The strides are 4, 8, 16, 32 and 64 px. Source: FPN, arXiv 1612.03144.
    """

    def __init__(self, body: MViT, out_channels: int) -> None:
        super().__init__()
        if len(body.out_channels) != 4:
            raise ValueError(f"out_features {(*body.out_channels,)}: the pyramid needs all four stages")
        self.body = body
        self.fpn = FeaturePyramidNetwork(list(body.out_channels.values()), out_channels, LastLevelMaxPool())
        self.out_channels = out_channels

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        pyramid = self.fpn(self.body(images))
        return dict(zip(LEVELS, pyramid.values(), strict=True))


def build_detector(
    variant: str,
    num_classes: int,
    cascade: bool = False,
    *,
    backbone: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> MaskRCNN:
    """Build Mask R-CNN, or Cascade Mask R-CNN, on an MViTv2 backbone with a feature pyramid.

    The model is a torchvision detection model: it takes a list of float (3, H, W) images in 0..1
    with, for training, a list of targets (``boxes`` (K, 4) XYXY in pixels, ``labels`` (K,) from 1,
    ``masks`` (K, H, W)), and returns torchvision's dict of losses or list of predictions. What lies
    between is Detectron2's: the same weights find the same objects in both.

    Args:
        variant: name in :data:`mvit_det.VARIANTS`.
        num_classes: classes with the background, as torchvision counts them: 1 + categories.
        cascade: three box heads, each trained on the boxes of the one before.
        backbone: keywords for :func:`mvit_det.build_mvit`.
        **kwargs: keywords of :class:`torchvision.models.detection.MaskRCNN`, such as ``min_size``.

    Raises:
        ValueError: for an unknown variant or keyword, or no foreground class.

    Source: Mask R-CNN, arXiv 1703.06870; Cascade R-CNN, arXiv 1906.09756; MViTv2, section 5.2.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes {num_classes}: must be at least 2, the background and one category")
    for name in kwargs:
        if name not in KEYWORDS:
            raise unknown_name("keyword", name, KEYWORDS)
    channels = CHANNELS_OF.get(variant, CHANNELS)
    kwargs = HEAD_DEFAULTS | HEAD_DEFAULTS_OF.get(variant, {}) | kwargs
    body = MViTWithFPN(build_mvit(variant, **(backbone or {})), channels)
    box_head, predictor = _box_head(channels), box_predictor(4 * channels, num_classes, num_classes - 1)
    norm_layer = nn.BatchNorm2d if cascade else None
    model = MaskRCNN(
        body,
        rpn_anchor_generator=Anchors(),
        rpn_head=RPNHead(channels, len(ASPECT_RATIOS), conv_depth=2 if cascade else 1),
        box_roi_pool=RegionPool(7),
        box_head=box_head,
        box_predictor=predictor,
        mask_roi_pool=RegionPool(14),
        mask_head=MaskRCNNHeads(channels, (channels,) * 4, dilation=1, norm_layer=norm_layer),
        mask_predictor=MaskRCNNPredictor(channels, channels, num_classes - 1),
        **kwargs,
    )
    model.transform = DetectorTransform(model.transform)
    model.rpn = ProposalNetwork(model.rpn)
    if cascade:
        model.roi_heads = CascadeHeads(model.roi_heads, channels, num_classes)
    else:
        model.roi_heads = DetectionHeads(model.roi_heads)
    for module in model.modules():
        if isinstance(module, RPNHead | FastRCNNPredictor | MaskRCNNPredictor):
            module.register_forward_hook(_to_float32)
    return model


def _box_head(channels: int) -> nn.Module:
    head = TwoMLPHead(channels * 7 * 7, 4 * channels)
    for layer in (head.fc6, head.fc7):  # torch's own start would shrink the features fivefold
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    return head


def _to_float32(module: nn.Module, inputs: Any, output: Any) -> Any:
    """Widen what a head predicts: under autocast torchvision would decode boxes in half precision."""
    if isinstance(output, Tensor):
        return output.float()
    return type(output)(_to_float32(module, inputs, item) for item in output)
