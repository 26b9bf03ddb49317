"""MViT with torchvision's feature pyramid and R-CNN heads."""

from collections.abc import Mapping
from inspect import signature
from typing import Any

from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RPNHead

from mvit_det.backbone.mvit import build_mvit
from mvit_det.errors import unknown_name
from mvit_det.heads import HEADS, Head
from mvit_det.nms import check_soft_nms
from mvit_det.ops.convolution import use_fast_convolutions
from mvit_det.recipes import Recipe, recipe_for
from mvit_det.torchvision.models.box_heads import build_box_heads, build_box_predictors
from mvit_det.torchvision.models.feature_pyramid import MViTWithFPN
from mvit_det.torchvision.models.initialization import initialize_heads
from mvit_det.torchvision.models.roi_heads import DetectionHeads
from mvit_det.torchvision.models.roi_pool import BOX_SIZE, MASK_SIZE, RegionPool
from mvit_det.torchvision.models.rpn import ASPECT_RATIOS, Anchors, ProposalNetwork
from mvit_det.torchvision.models.transform import DetectorTransform

NUM_MASK_CONVS = 4
# torchvision ignores unknown keywords, so they are checked here. The last two are the transform's.
KEYWORDS = {*signature(MaskRCNN).parameters, "size_divisible", "_skip_resize"} - {"kwargs"}


def build_detector(
    variant: str,
    num_classes: int,
    head: str = "mask_rcnn",
    *,
    backbone: Mapping[str, Any] | None = None,
    soft_nms: str | None = None,
    **kwargs: Any,
) -> FasterRCNN:
    """Build an R-CNN detector on an MViT backbone with a feature pyramid.

    The model is a torchvision detection model. It takes a list of float (3, H, W) images in 0..1 and, for
    training, a list of targets: ``boxes`` (K, 4) XYXY in pixels, ``labels`` (K,) from 1, ``masks``
    (K, H, W). It returns torchvision's dict of losses or list of predictions. It computes what Detectron2
    computes: with the same weights, both detect the same objects.

    Args:
        variant: name in :data:`mvit_det.VARIANTS`.
        num_classes: number of classes including the background, as in torchvision: 1 + categories.
        head: name in :data:`mvit_det.heads.HEADS`.
        backbone: keywords for :func:`mvit_det.build_mvit`.
        soft_nms: "linear" or "gaussian" for soft-NMS (arXiv 1704.04503), or None for non-maximum suppression.
            A detector that has been built has it as ``roi_heads.soft_nms``.
        **kwargs: keywords of :class:`torchvision.models.detection.MaskRCNN`, such as ``min_size``. The
            defaults for proposals, sampling and boxes come from the variant's recipe and from the head.

    Returns:
        a :class:`torchvision.models.detection.MaskRCNN` if the head predicts masks, or else a
        :class:`torchvision.models.detection.FasterRCNN`.

    Raises:
        ValueError: for an unknown variant, head, keyword or method of soft-NMS, or if there is no foreground
            class.

    Source: Mask R-CNN, arXiv 1703.06870; Cascade R-CNN, arXiv 1906.09756; MViTv2, section 5.2.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes {num_classes}: must be at least 2, the background and one category")
    if head not in HEADS:
        raise unknown_name("head", head, HEADS)
    for name in kwargs:
        if name not in KEYWORDS:
            raise unknown_name("keyword", name, KEYWORDS)
    check_soft_nms(soft_nms)
    recipe = recipe_for(variant)
    channels, spec = recipe.channels, HEADS[head]
    body = MViTWithFPN(build_mvit(variant, **(backbone or {})), channels)
    modules: dict[str, nn.Module] = {
        "rpn_anchor_generator": Anchors(),
        "box_roi_pool": RegionPool(BOX_SIZE),
        "box_head": build_box_heads(spec, channels),
        "box_predictor": build_box_predictors(spec, channels, num_classes),
        "rpn_head": RPNHead(channels, len(ASPECT_RATIOS), conv_depth=spec.num_rpn_convs),
    }
    if spec.has_masks:
        modules |= _mask_modules(spec, channels, num_classes)
    model_class = MaskRCNN if spec.has_masks else FasterRCNN
    model = model_class(body, **modules, **(_defaults(recipe, spec) | kwargs))
    initialize_heads(model)
    model.transform = DetectorTransform(model.transform)
    model.rpn = ProposalNetwork(model.rpn)
    model.roi_heads = DetectionHeads(model.roi_heads, spec)
    model.roi_heads.soft_nms = soft_nms
    use_fast_convolutions(model)
    for module in model.modules():
        if isinstance(module, RPNHead | FastRCNNPredictor | MaskRCNNPredictor):
            module.register_forward_hook(_to_float32)
    return model


def _mask_modules(head: Head, channels: int, num_classes: int) -> dict[str, nn.Module]:
    norm_layer = nn.BatchNorm2d if head.is_cascade else None
    return {
        "mask_roi_pool": RegionPool(MASK_SIZE),
        "mask_head": MaskRCNNHeads(channels, [channels] * NUM_MASK_CONVS, dilation=1, norm_layer=norm_layer),
        "mask_predictor": MaskRCNNPredictor(channels, channels, num_classes - 1),
    }


def _defaults(recipe: Recipe, head: Head) -> dict[str, Any]:
    """Return the keywords of :class:`MaskRCNN` that a recipe and a head set."""
    return {
        "rpn_pre_nms_top_n_train": recipe.pre_nms_topk[0],
        "rpn_pre_nms_top_n_test": recipe.pre_nms_topk[1],
        "rpn_post_nms_top_n_train": recipe.post_nms_topk[0],
        "rpn_post_nms_top_n_test": recipe.post_nms_topk[1],
        "rpn_batch_size_per_image": recipe.rpn_batch_size,
        "box_batch_size_per_image": recipe.box_batch_size,
        "box_fg_iou_thresh": head.iou_thresholds[0],
        "box_bg_iou_thresh": head.iou_thresholds[0],
        "bbox_reg_weights": head.box_weights[0],
    }


def _to_float32(module: nn.Module, inputs: Any, output: Any) -> Any:
    """Cast predictions to float32. Under autocast, torchvision would decode boxes in half precision."""
    if isinstance(output, Tensor):
        return output.float()
    return type(output)(_to_float32(module, inputs, item) for item in output)
