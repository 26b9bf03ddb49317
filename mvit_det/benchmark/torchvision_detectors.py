"""The compared detectors that have the interface of torchvision's detection models."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import maskrcnn_resnet50_fpn_v2

from mvit_det.benchmark.samples import NUM_CLASSES, Sample
from mvit_det.torchvision.models.detector import build_detector
from mvit_det.torchvision.models.polygon_masks import PolygonMasks

MASK_THRESHOLD = 0.5
SCALES = {  # factors of random weights
    "cls_logits.weight": 30,
    "rpn.head.bbox_pred.weight": 5,
    "cls_score.weight": 3,
    "mask_fcn_logits.weight": 300,
}

_HEADS = "mvit_det.torchvision.models.roi_heads"
_PLAIN_HEADS = "torchvision.models.detection.roi_heads"
PARTS = {
    "preprocessing": ["transform.forward"],
    "backbone": ["backbone.body.forward"],
    "FPN": ["backbone.forward"],
    "RPN": ["rpn.forward"],
    "matching, sampling": [
        "rpn.assign_targets_to_anchors",
        "torchvision.models.detection._utils:BalancedPositiveNegativeSampler.__call__",
        "roi_heads.select_training_samples",
        f"{_HEADS}:match_boxes",
    ],
    "RoIAlign": ["roi_heads.box_roi_pool.forward", "roi_heads.mask_roi_pool.forward"],
    "box head": [
        "roi_heads.box_head.forward",
        "roi_heads.box_predictor.forward",
        f"{_HEADS}:box_losses",
        f"{_PLAIN_HEADS}:fastrcnn_loss",
    ],
    "NMS of boxes": ["roi_heads._select_detections", "roi_heads.postprocess_detections"],
    "mask head": [
        "roi_heads.mask_head.forward",
        "roi_heads.mask_predictor.forward",
        f"{_HEADS}:mask_loss",
        f"{_PLAIN_HEADS}:maskrcnn_loss",
    ],
    "mask targets": [
        "mvit_det.torchvision.models.masks:crop_masks",
        f"{_PLAIN_HEADS}:project_masks_on_boxes",
    ],
    "pasting": ["transform.postprocess"],
}


class TorchvisionDetector:
    """Implements :class:`mvit_det.benchmark.detectors.Detector`.

    Args:
        module: the model.
        samples: images and objects.
        device: ``"cpu"`` or ``"cuda"``. The images start on the CPU, as bytes.
        has_polygons: whether the model takes masks as polygons.
    """

    parts = PARTS

    def __init__(
        self, module: nn.Module, samples: Sequence[Sample], device: str, has_polygons: bool = False
    ) -> None:
        self.module, self.device = module.to(device), device
        self.pixels = [sample.pixels for sample in samples]
        self.targets = [
            {
                "boxes": sample.boxes.to(device),
                "labels": 1 + sample.classes.to(device),
                "masks": _polygon_masks(sample) if has_polygons else sample.masks().to(device),
            }
            for sample in samples
        ]

    def detect(self) -> Any:
        """Implement :meth:`Detector.detect`."""
        return self.module(self._images())

    def loss(self) -> Tensor:
        """Implement :meth:`Detector.loss`."""
        losses = self.module(self._images(), self.targets)
        return torch.stack([loss.float() for loss in losses.values()]).sum()

    def detections(self) -> list[dict[str, Tensor]]:
        """Implement :meth:`Detector.detections`."""
        return [
            {
                "boxes": image["boxes"],
                "scores": image["scores"],
                "classes": image["labels"] - 1,
                "masks": image["masks"][:, 0] >= MASK_THRESHOLD,
            }
            for image in self.detect()
        ]

    def _images(self) -> list[Tensor]:
        return [pixels.to(self.device) / 255 for pixels in self.pixels]


def build_ours(
    variant: str, weights: dict[str, Tensor], samples: Sequence[Sample], device: str
) -> TorchvisionDetector:
    """Build our Mask R-CNN on torchvision."""
    size = samples[0].pixels.shape[1:]
    module = build_detector(
        variant,
        1 + NUM_CLASSES,
        "mask_rcnn",
        backbone={"drop_path_rate": 0.0},
        min_size=min(size),
        max_size=max(size),
        box_score_thresh=0.0,
    )
    module.load_state_dict(weights, strict=True)
    module.transform.mask_threshold = MASK_THRESHOLD
    return TorchvisionDetector(module, samples, device, has_polygons=True)


def random_weights(variant: str) -> dict[str, Tensor]:
    """Return random weights of our detector whose predictions differ between locations."""
    weights = build_detector(variant, 1 + NUM_CLASSES, "mask_rcnn").state_dict()
    return {
        name: tensor * next((scale for suffix, scale in SCALES.items() if name.endswith(suffix)), 1)
        for name, tensor in weights.items()
    }


def build_torchvision_r50(
    _: str, __: dict[str, Tensor], samples: Sequence[Sample], device: str
) -> TorchvisionDetector:
    """Build torchvision's Mask R-CNN with a ResNet-50, version 2."""
    size = samples[0].pixels.shape[1:]
    module = maskrcnn_resnet50_fpn_v2(
        weights=None,
        weights_backbone=None,
        num_classes=1 + NUM_CLASSES,
        min_size=min(size),
        max_size=max(size),
        box_score_thresh=0.0,
    )
    return TorchvisionDetector(module, samples, device)


def _polygon_masks(sample: Sample) -> PolygonMasks:
    size = (sample.pixels.shape[1], sample.pixels.shape[2])
    return PolygonMasks.from_coco([[polygon] for polygon in sample.polygons], size)
