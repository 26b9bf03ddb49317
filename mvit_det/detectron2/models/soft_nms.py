"""Detectron2's R-CNN heads with soft-NMS, or with non-maximum suppression that stops early."""

from typing import Any

import torch
from detectron2.modeling.roi_heads import CascadeROIHeads, FastRCNNOutputLayers, StandardROIHeads
from detectron2.structures import Boxes, Instances
from torch import Tensor

from mvit_det.nms import check_soft_nms, select_detections, suppress

Losses = dict[str, Tensor]
Features = dict[str, Tensor]  # level -> (N, C, h, w)


class SoftNMSROIHeads(StandardROIHeads):
    """``StandardROIHeads`` with a choice between non-maximum suppression and soft-NMS at inference.

    Args:
        soft_nms: "linear" or "gaussian" for soft-NMS, or None for non-maximum suppression.
        **kwargs: keywords of ``StandardROIHeads``.

    Raises:
        InputError: if ``soft_nms`` is unknown.

    Source: Soft-NMS, arXiv 1704.04503.
    """

    def __init__(self, *, soft_nms: str | None = None, **kwargs: Any) -> None:
        check_soft_nms(soft_nms)
        super().__init__(**kwargs)
        self.soft_nms = soft_nms

    def _forward_box(self, features: Features, proposals: list[Instances]) -> Losses | list[Instances]:
        inference = getattr(self.box_predictor.inference, "__func__", None)
        has_own_inference = inference is not FastRCNNOutputLayers.inference
        if self.training or (self.soft_nms is None and has_own_inference):
            return super()._forward_box(features, proposals)
        levels = [features[name] for name in self.box_in_features]
        regions = self.box_pooler(levels, [image.proposal_boxes for image in proposals])
        predictions = self.box_predictor(self.box_head(regions))
        boxes = self.box_predictor.predict_boxes(predictions, proposals)
        scores = self.box_predictor.predict_probs(predictions, proposals)
        return select_instances(boxes, scores, proposals, self.box_predictor, self.soft_nms)


class SoftNMSCascadeROIHeads(CascadeROIHeads):
    """``CascadeROIHeads`` with a choice between non-maximum suppression and soft-NMS at inference.

    Args:
        soft_nms: "linear" or "gaussian" for soft-NMS, or None for non-maximum suppression.
        **kwargs: keywords of ``CascadeROIHeads``.

    Raises:
        InputError: if ``soft_nms`` is unknown.

    Source: Cascade R-CNN, arXiv 1906.09756; Soft-NMS, arXiv 1704.04503.
    """

    def __init__(self, *, soft_nms: str | None = None, **kwargs: Any) -> None:
        check_soft_nms(soft_nms)
        super().__init__(**kwargs)
        self.soft_nms = soft_nms

    def _forward_box(
        self, features: Features, proposals: list[Instances], targets: list[Instances] | None = None
    ) -> Losses | list[Instances]:
        if self.training:
            return super()._forward_box(features, proposals, targets)
        levels = [features[name] for name in self.box_in_features]
        sizes = [image.image_size for image in proposals]
        boxes: tuple[Tensor, ...] = ()
        stage_scores = []  # stage -> image -> (R_i, K + 1)
        for stage, predictor in enumerate(self.box_predictor):
            if stage > 0:
                proposals = self._create_proposals_from_boxes(boxes, sizes)
            predictions = self._run_stage(levels, proposals, stage)
            boxes = predictor.predict_boxes(predictions, proposals)
            stage_scores.append(predictor.predict_probs(predictions, proposals))
        scores = [torch.stack(image_scores).mean(0) for image_scores in zip(*stage_scores, strict=True)]
        return select_instances(boxes, scores, proposals, predictor, self.soft_nms)


def suppress_instances(
    detections: Instances, predictor: FastRCNNOutputLayers, method: str | None
) -> Instances:
    """Return the detections of one image after soft-NMS or non-maximum suppression.

    Args:
        detections: ``pred_boxes``, ``scores`` and ``pred_classes``.
        predictor: source of the IoU threshold and of the maximum number of detections.
        method: "linear" or "gaussian" for soft-NMS, or None for non-maximum suppression.
    """
    kept, scores = suppress(
        detections.pred_boxes.tensor,
        detections.scores,
        detections.pred_classes,
        iou_threshold=predictor.test_nms_thresh,
        max_detections=predictor.test_topk_per_image,
        soft_nms=method,
    )
    selected = detections[kept]
    selected.scores = scores
    return selected


def select_instances(
    boxes: tuple[Tensor, ...],
    scores: tuple[Tensor, ...] | list[Tensor],
    proposals: list[Instances],
    predictor: FastRCNNOutputLayers,
    method: str | None,
) -> list[Instances]:
    """Return the detections of each image after thresholding and non-maximum suppression or soft-NMS.

    Args:
        boxes: (R_i, 4 K) for each image, or (R_i, 4) if they are class-agnostic, XYXY in px.
        scores: (R_i, K + 1) for each image.
        proposals: the regions of each image, which know its size.
        predictor: source of the thresholds and of the maximum number of detections.
        method: "linear" or "gaussian" for soft-NMS, or None for non-maximum suppression.
    """
    images = []
    for image_boxes, image_scores, image in zip(boxes, scores, proposals, strict=True):
        detections = Instances(image.image_size)
        selected_boxes, detections.scores, detections.pred_classes = select_detections(
            image_boxes.unflatten(1, (-1, 4)),
            image_scores[:, :-1],
            image.image_size,
            min_score=predictor.test_score_thresh,
            iou_threshold=predictor.test_nms_thresh,
            max_detections=predictor.test_topk_per_image,
            soft_nms=method,
        )
        detections.pred_boxes = Boxes(selected_boxes)
        images.append(detections)
    return images
