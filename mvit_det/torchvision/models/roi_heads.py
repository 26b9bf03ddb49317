"""The heads that classify and refine region proposals, and their losses."""

import torch
from torch import Tensor, nn
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.models.detection.roi_heads import RoIHeads

from mvit_det.heads import Head
from mvit_det.nms import select_detections
from mvit_det.torchvision.models.box_stages import (
    Stage,
    match_boxes,
    refine_boxes,
)
from mvit_det.torchvision.models.losses import box_losses
from mvit_det.torchvision.models.masks import mask_loss, select_class_masks

Features = dict[str, Tensor]  # level -> (N, C, h, w)
Shapes = list[tuple[int, int]]  # (height, width) of each image, px
Targets = list[dict[str, Tensor]]  # boxes, labels and masks of the objects in each image


class DetectionHeads(RoIHeads):
    """Box heads in one or more stages and, optionally, a mask head, computed as in Detectron2.

    Each stage takes the boxes that the previous stage has refined. At inference, the scores are averaged
    over the stages. A box predictor returns logits (R, 1 + K), of which class 0 is the background, and
    deltas (R, 4 * K), or (R, 4) in a cascade. The mask predictor returns logits (R, K, M, M). R is the
    number of regions in the batch, K the number of categories, and M the side of a mask in cells.

    Source: Mask R-CNN, arXiv 1703.06870; Cascade R-CNN, arXiv 1906.09756.

    Args:
        plain: torchvision's heads, whose modules and settings this object reuses. In a cascade,
            ``box_head`` and ``box_predictor`` are a ``ModuleList`` with one item per stage.
        head: source of the thresholds and box weights of the second and later stages; ``plain`` has those
            of the first.

    Attributes:
        soft_nms: None for non-maximum suppression, or the name of the soft-NMS that replaces it, "linear" or
            "gaussian". It can be changed at any time.
    """

    soft_nms: str | None = None

    def __init__(self, plain: RoIHeads, head: Head) -> None:
        super().__init__(
            plain.box_roi_pool,
            plain.box_head,
            plain.box_predictor,
            plain.proposal_matcher.high_threshold,
            plain.proposal_matcher.low_threshold,
            plain.fg_bg_sampler.batch_size_per_image,
            plain.fg_bg_sampler.positive_fraction,
            plain.box_coder.weights,
            plain.score_thresh,
            plain.nms_thresh,
            plain.detections_per_img,
            plain.mask_roi_pool,
            plain.mask_head,
            plain.mask_predictor,
        )
        self.box_coders = [self.box_coder, *(BoxCoder(weights) for weights in head.box_weights[1:])]
        self.matchers = [self.proposal_matcher, *(Matcher(iou, iou) for iou in head.iou_thresholds[1:])]

    @property
    def stages(self) -> list[Stage]:
        """The box heads in the order in which they run."""
        modules = (self.box_head, self.box_predictor)
        box_heads, predictors = (m if isinstance(m, nn.ModuleList) else [m] for m in modules)
        parts = zip(box_heads, predictors, self.box_coders, self.matchers, strict=True)
        return [Stage(*part) for part in parts]

    def forward(
        self,
        features: Features,
        proposals: list[Tensor],
        image_shapes: Shapes,
        targets: Targets | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Return ([], losses) in training and (predictions, {}) at inference, as torchvision's heads do.

        Args:
            features: the pyramid, level -> (N, C, h, w).
            proposals: (P_i, 4) for each image, XYXY in px.
            image_shapes: (height, width) of each image, px.
            targets: ``boxes``, ``labels`` and, if there is a mask head, ``masks`` of each image; only for
                training.
        """
        if self.training:
            assert targets is not None, "training needs targets"
            return [], self._losses(features, proposals, image_shapes, targets)
        return self._predictions(features, proposals, image_shapes), {}

    def _losses(
        self, features: Features, proposals: list[Tensor], image_shapes: Shapes, targets: Targets
    ) -> dict[str, Tensor]:
        boxes, matched_index, labels, _ = self.select_training_samples(proposals, targets)
        losses = {}
        if self.has_mask():  # trained on the sampled proposals, which no stage has refined yet
            positive = [torch.where(image_labels > 0)[0] for image_labels in labels]
            positive_boxes = [b[index] for b, index in zip(boxes, positive, strict=True)]
            objects = [m[index] for m, index in zip(matched_index, positive, strict=True)]
            logits = self._mask_logits(features, positive_boxes, image_shapes)
            losses["loss_mask"] = mask_loss(logits, positive_boxes, objects, targets, image_shapes)
        stages = self.stages
        for number, stage in enumerate(stages, start=1):
            labels, matched_boxes = match_boxes(stage.matcher, boxes, targets)
            logits, deltas = self._predict_boxes(stage, features, boxes, image_shapes)
            loss_classifier, loss_box_reg = box_losses(
                logits, deltas, labels, stage.coder.encode(matched_boxes, boxes)
            )
            suffix = f"_{number}" if len(stages) > 1 else ""
            losses[f"loss_classifier{suffix}"] = loss_classifier
            losses[f"loss_box_reg{suffix}"] = loss_box_reg
            if number < len(stages):
                refined = refine_boxes(stage.coder, deltas.detach(), boxes, image_shapes)
                boxes = [b[(b[:, 2:] > b[:, :2]).all(1)] for b in refined]  # without empty boxes
        return losses

    def _predictions(
        self, features: Features, proposals: list[Tensor], image_shapes: Shapes
    ) -> list[dict[str, Tensor]]:
        boxes, scores, stages = proposals, [], self.stages
        for number, stage in enumerate(stages, start=1):
            logits, deltas = self._predict_boxes(stage, features, boxes, image_shapes)
            scores.append(logits.softmax(-1))
            if number < len(stages):
                boxes = refine_boxes(stage.coder, deltas, boxes, image_shapes)
        counts = [len(image_boxes) for image_boxes in boxes]
        mean_scores = torch.stack(scores).mean(0).split(counts)  # each (R_i, 1 + K)
        decoded = stages[-1].coder.decode(deltas, boxes).reshape(len(deltas), deltas.shape[1] // 4, 4)
        images = zip(decoded.split(counts), mean_scores, image_shapes, strict=True)
        detections = [self._select_detections(*image) for image in images]
        if self.has_mask():
            self._add_masks(detections, features, image_shapes)
        return detections

    def _predict_boxes(
        self, stage: Stage, features: Features, boxes: list[Tensor], image_shapes: Shapes
    ) -> tuple[Tensor, Tensor]:
        """Return the class logits and the deltas of one stage for all boxes of the batch."""
        pooled = self.box_roi_pool(features, boxes, image_shapes)
        if pooled.requires_grad:  # the gradients of the stages are averaged, not summed
            pooled.register_hook(lambda gradient: gradient / len(self.stages))
        return stage.predictor(stage.box_head(pooled))

    def _select_detections(self, boxes: Tensor, scores: Tensor, shape: tuple[int, int]) -> dict[str, Tensor]:
        """Return the detections of one image after thresholding and non-maximum suppression.

        Args:
            boxes: (R, K, 4), one box per class, or (R, 1, 4), XYXY in px.
            scores: (R, 1 + K).
            shape: (height, width) of the image, px.
        """
        boxes, scores, classes = select_detections(
            boxes,
            scores[:, 1:],
            shape,
            min_score=self.score_thresh,
            iou_threshold=self.nms_thresh,
            max_detections=self.detections_per_img,
            soft_nms=self.soft_nms,
        )
        return {"boxes": boxes, "labels": classes + 1, "scores": scores}

    def _mask_logits(self, features: Features, boxes: list[Tensor], image_shapes: Shapes) -> Tensor:
        pooled = self.mask_roi_pool(features, boxes, image_shapes)
        return self.mask_predictor(self.mask_head(pooled))  # (R, K, M, M)

    def _add_masks(
        self, detections: list[dict[str, Tensor]], features: Features, image_shapes: Shapes
    ) -> None:
        """Add ``"masks"``, the probabilities in the cells of each box, to the detections of each image."""
        boxes = [image_detections["boxes"] for image_detections in detections]
        labels = torch.cat([image_detections["labels"] for image_detections in detections])
        logits = self._mask_logits(features, boxes, image_shapes)
        masks = select_class_masks(logits, labels).sigmoid()
        counts = [len(image_boxes) for image_boxes in boxes]
        for image_detections, image_masks in zip(detections, masks.split(counts), strict=True):
            image_detections["masks"] = image_masks[:, None]  # (N, 1, M, M)
