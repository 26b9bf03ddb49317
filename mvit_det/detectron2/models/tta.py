"""Test-time augmentation: a detector sees each image in several sizes, and mirrored."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from detectron2.modeling import GeneralizedRCNN
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.modeling.roi_heads import FastRCNNOutputLayers
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn

from mvit_det.detectron2.data.resize import ResizeShortestEdge
from mvit_det.detectron2.models.soft_nms import suppress_instances


@dataclass(frozen=True)
class _View:
    """One augmentation of an image.

    Attributes:
        size: (height, width) of the augmented image, px.
        scale: factors (4,) from XYXY boxes in the original image to boxes in the augmented one.
        flipped: whether the augmented image is mirrored.
        features: the feature pyramid, level -> (1, C, h, w).
    """

    size: tuple[int, int]
    scale: Tensor
    flipped: bool
    features: dict[str, Tensor]

    def to_view(self, boxes: Tensor) -> Tensor:
        """Transform boxes (N, 4), XYXY in px, from the original to the augmented image."""
        boxes = boxes * self.scale
        return self._flip(boxes) if self.flipped else boxes

    def to_original(self, boxes: Tensor) -> Tensor:
        """Transform boxes (N, 4), XYXY in px, from the augmented to the original image."""
        return (self._flip(boxes) if self.flipped else boxes) / self.scale

    def _flip(self, boxes: Tensor) -> Tensor:
        left, top, right, bottom = boxes.unbind(1)
        width = self.size[1]
        return torch.stack((width - right, top, width - left, bottom), dim=1)


class DetectorWithTTA(nn.Module):
    """A detector with test-time augmentation; called like the detector itself.

    Boxes are detected in each augmentation of an image, and then selected among those of all augmentations
    by the non-maximum suppression or soft-NMS of the detector's heads. A mask is the mean of the masks that
    the mask head predicts for the selected box in each augmentation.

    The feature pyramids of all augmentations stay in memory until the masks are computed.

    Args:
        model: a ``GeneralizedRCNN`` whose heads are ``StandardROIHeads``, ``CascadeROIHeads`` or subclasses.
        short_sides: lengths to which the short side is resized, px.
        max_size: maximum length of the long side, px. The short side gets shorter if necessary.
        flip: whether to add a mirrored image for each length.
    """

    def __init__(self, model: GeneralizedRCNN, short_sides: Sequence[int], max_size: int, flip: bool) -> None:
        super().__init__()
        self.model = model
        self.short_sides = tuple(short_sides)
        self.max_size = max_size
        self.flips = (False, True) if flip else (False,)

    @torch.no_grad()
    def forward(self, samples: list[dict[str, Any]]) -> list[dict[str, Instances]]:
        """Return the detections in each image, as the detector does in evaluation mode.

        Args:
            samples: for each image, ``image``: uint8 (3, H, W), best in its original size; ``height`` and
                ``width``: the size of the original image, which the detections refer to, by default H and W.

        Returns:
            for each image, ``instances`` with ``pred_boxes``, ``scores``, ``pred_classes`` and, if there is a
            mask head, ``pred_masks``.
        """
        assert not self.model.training, "test-time augmentation needs a model in evaluation mode"
        return [{"instances": self._detect(sample)} for sample in samples]

    def _detect(self, sample: dict[str, Any]) -> Instances:
        image = sample["image"]
        height, width = sample.get("height", image.shape[1]), sample.get("width", image.shape[2])
        views, detections = [], []
        for short_side in self.short_sides:
            pixels = self._resize(image, short_side)
            for flipped in self.flips:
                view, boxes = self._detect_in_view(pixels, flipped, (height, width))
                views.append(view)
                detections.append(boxes)
        merged = suppress_instances(Instances.cat(detections), self._predictor, self._soft_nms)
        if self.model.roi_heads.mask_on:
            merged.pred_masks = torch.stack([self._predict_masks(view, merged) for view in views]).mean(0)
        return detector_postprocess(merged, height, width)

    def _resize(self, image: Tensor, short_side: int) -> Tensor:
        """Resize an image (3, H, W) as the data loaders do."""
        array = image.permute(1, 2, 0).cpu().numpy()
        pixels = ResizeShortestEdge(short_side, self.max_size).get_transform(array).apply_image(array)
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))

    def _detect_in_view(
        self, pixels: Tensor, flipped: bool, original_size: tuple[int, int]
    ) -> tuple[_View, Instances]:
        """Return a view and the detections in it, with boxes in the original image."""
        images = self.model.preprocess_image([{"image": pixels.flip(2) if flipped else pixels}])
        features = self.model.backbone(images.tensor)
        proposals, _ = self.model.proposal_generator(images, features)
        (detections,) = self.model.roi_heads._forward_box(features, proposals)
        height, width = pixels.shape[1:]
        scale = torch.tensor([width / original_size[1], height / original_size[0]] * 2)
        view = _View((height, width), scale.to(self.model.device), flipped, features)
        boxes = Boxes(view.to_original(detections.pred_boxes.tensor))
        boxes.clip(original_size)
        return view, Instances(original_size, **(detections.get_fields() | {"pred_boxes": boxes}))

    def _predict_masks(self, view: _View, detections: Instances) -> Tensor:
        """Return the probabilities of the masks, (N, 1, M, M), in the cells of the boxes in the original."""
        boxes = Boxes(view.to_view(detections.pred_boxes.tensor))
        regions = Instances(view.size, pred_boxes=boxes, pred_classes=detections.pred_classes)
        (regions,) = self.model.roi_heads.forward_with_given_boxes(view.features, [regions])
        masks: Tensor = regions.pred_masks
        return masks.flip(3) if view.flipped else masks

    @property
    def _predictor(self) -> FastRCNNOutputLayers:
        """The box predictor whose thresholds select the detections: that of the last stage."""
        predictor = self.model.roi_heads.box_predictor
        return predictor[-1] if isinstance(predictor, nn.ModuleList) else predictor

    @property
    def _soft_nms(self) -> str | None:
        return getattr(self.model.roi_heads, "soft_nms", None)
