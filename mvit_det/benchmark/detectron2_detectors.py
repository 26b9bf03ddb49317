"""The compared detectors that are built from Detectron2's lazy configs."""

from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import detectron2
import torch
from detectron2.config import LazyCall, LazyConfig, instantiate
from detectron2.layers import ShapeSpec
from detectron2.modeling import MViT
from detectron2.structures import Boxes, Instances, PolygonMasks
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

from mvit_det.backbone.mvit import variant_keywords
from mvit_det.benchmark.samples import NUM_CLASSES, Sample
from mvit_det.detectron2 import get_config
from mvit_det.detectron2.config_files import config_names
from mvit_det.recipes import recipe_for
from mvit_det.weights import to_detectron2

BASE_CONFIG = Path(detectron2.__file__).parent / "model_zoo/configs/common/models/mask_rcnn_fpn.py"
PARTS = {
    "preprocessing": ["preprocess_image"],
    "backbone": ["backbone.bottom_up.forward"],
    "FPN": ["backbone.forward"],
    "RPN": ["proposal_generator.forward"],
    "matching, sampling": [
        "proposal_generator.label_and_sample_anchors",
        "roi_heads.label_and_sample_proposals",
    ],
    "RoIAlign": ["roi_heads.box_pooler.forward", "roi_heads.mask_pooler.forward"],
    "box head": [
        "roi_heads.box_head.forward",
        "roi_heads.box_predictor.forward",
        "roi_heads.box_predictor.losses",
    ],
    "NMS of boxes": [
        "roi_heads.box_predictor.inference",
        "mvit_det.detectron2.models.soft_nms:select_instances",
    ],
    "mask head": ["roi_heads.mask_head.forward"],
    "mask targets": ["detectron2.structures:PolygonMasks.crop_and_resize"],
    "pasting": ["detectron2.modeling.meta_arch.rcnn:detector_postprocess"],
}


class Detectron2Detector:
    """Implements :class:`mvit_det.benchmark.detectors.Detector`.

    Args:
        module: the model.
        samples: images and objects.
        device: ``"cpu"`` or ``"cuda"``. The images start on the CPU, as bytes.
    """

    parts = PARTS

    def __init__(self, module: nn.Module, samples: Sequence[Sample], device: str) -> None:
        self.module = module.to(device)
        self.inputs = [_to_input(sample) for sample in samples]

    def detect(self) -> Any:
        """Implement :meth:`Detector.detect`."""
        return self.module(self.inputs)

    def loss(self) -> Tensor:
        """Implement :meth:`Detector.loss`."""
        with EventStorage():
            losses = self.module(self.inputs)
        return torch.stack([loss.float() for loss in losses.values()]).sum()

    def detections(self) -> list[dict[str, Tensor]]:
        """Implement :meth:`Detector.detections`."""
        instances = [image["instances"] for image in self.detect()]
        return [
            {
                "boxes": image.pred_boxes.tensor,
                "scores": image.scores,
                "classes": image.pred_classes,
                "masks": image.pred_masks,
            }
            for image in instances
        ]


def build_ours(
    variant: str, weights: dict[str, Tensor], samples: Sequence[Sample], device: str
) -> Detectron2Detector:
    """Build the Mask R-CNN of our config of a variant."""
    name = f"mask_rcnn_{variant}"
    model = get_config(name if name in config_names() else f"{name}_3x").model
    model.backbone.bottom_up.drop_path_rate = 0.0
    return _build(model, weights, samples, device)


def build_detectron2_mvit(
    variant: str, weights: dict[str, Tensor], samples: Sequence[Sample], device: str
) -> Detectron2Detector:
    """Build the Mask R-CNN of Detectron2's ``projects/MViTv2``, in the size of a variant."""
    known = signature(MViT).parameters  # lacks some keywords of ours, which MViTv2 leaves at their defaults
    keywords = {key: value for key, value in variant_keywords(variant).items() if key in known}
    names = ["scale2", "scale3", "scale4", "scale5"]
    model = LazyConfig.load(str(BASE_CONFIG)).model
    model.backbone.bottom_up = LazyCall(MViT)(**keywords | {"drop_path_rate": 0.0, "out_features": names})
    model.backbone.in_features = names
    recipe = recipe_for(variant)
    channels = model.backbone.out_channels = recipe.channels
    model.proposal_generator.head.in_channels = channels
    model.proposal_generator.update(
        batch_size_per_image=recipe.rpn_batch_size,
        pre_nms_topk=recipe.pre_nms_topk,
        post_nms_topk=recipe.post_nms_topk,
    )
    heads = model.roi_heads
    heads.batch_size_per_image = recipe.box_batch_size
    heads.box_head.update(
        input_shape=ShapeSpec(channels=channels, height=7, width=7), fc_dims=[4 * channels] * 2
    )
    heads.box_predictor.input_shape = ShapeSpec(channels=4 * channels)
    heads.mask_head.update(
        input_shape=ShapeSpec(channels=channels, height=14, width=14), conv_dims=[channels] * 5
    )
    model.pixel_mean, model.pixel_std = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    model.input_format = "RGB"
    return _build(model, weights, samples, device)


def _build(
    model: Any, weights: dict[str, Tensor], samples: Sequence[Sample], device: str
) -> Detectron2Detector:
    model.roi_heads.box_predictor.test_score_thresh = 0.0
    model.roi_heads.num_classes = NUM_CLASSES
    module = instantiate(model)
    module.load_state_dict(to_detectron2(weights), strict=True)
    return Detectron2Detector(module, samples, device)


def _to_input(sample: Sample) -> dict[str, Any]:
    height, width = sample.pixels.shape[1:]
    instances = Instances((height, width), gt_boxes=Boxes(sample.boxes), gt_classes=sample.classes)
    instances.gt_masks = PolygonMasks([[polygon] for polygon in sample.polygons])
    return {"image": sample.pixels, "height": height, "width": width, "instances": instances}
