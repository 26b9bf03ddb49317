"""Cascade heads on torchvision's parts."""

import torch
from torch import Tensor, nn
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor
from torchvision.models.detection.roi_heads import (
    RoIHeads,
    fastrcnn_loss,
    maskrcnn_inference,
    maskrcnn_loss,
)
from torchvision.ops import box_iou, clip_boxes_to_image

IOU_THRESHOLDS = (0.5, 0.6, 0.7)
BOX_WEIGHTS = ((10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0))

Targets = list[dict[str, Tensor]]


class CascadeRoIHeads(RoIHeads):
    """Three box heads in a row, each on the boxes that the one before has refined, and one mask head.

    Boxes are class-agnostic; at inference the scores are averaged over the stages. Pooling,
    sampling, thresholds and the mask head are those of ``single``, which this takes the place of.
    Source: Cascade R-CNN, arXiv 1906.09756.
    """

    def __init__(self, single: RoIHeads, channels: int, num_classes: int) -> None:
        super().__init__(
            single.box_roi_pool,
            nn.ModuleList(_box_head(channels) for _ in IOU_THRESHOLDS),
            nn.ModuleList(_box_predictor(4 * channels, num_classes) for _ in IOU_THRESHOLDS),
            fg_iou_thresh=IOU_THRESHOLDS[0],
            bg_iou_thresh=IOU_THRESHOLDS[0],
            batch_size_per_image=single.fg_bg_sampler.batch_size_per_image,
            positive_fraction=single.fg_bg_sampler.positive_fraction,
            bbox_reg_weights=BOX_WEIGHTS[-1],
            score_thresh=single.score_thresh,
            nms_thresh=single.nms_thresh,
            detections_per_img=single.detections_per_img,
            mask_roi_pool=single.mask_roi_pool,
            mask_head=single.mask_head,
            mask_predictor=single.mask_predictor,
        )
        self.num_classes = num_classes
        self.box_coders = [BoxCoder(weights) for weights in BOX_WEIGHTS]
        self.matchers = [Matcher(iou, iou) for iou in IOU_THRESHOLDS]

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: Targets | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Return (predictions, {}) at inference and ([], losses) in training, as torchvision's heads do."""
        if self.training:
            assert targets is not None, "training needs targets"
            return [], self._losses(features, proposals, image_shapes, targets)
        return self._predictions(features, proposals, image_shapes), {}

    def _losses(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: Targets,
    ) -> dict[str, Tensor]:
        proposals, matched_index, labels, _ = self.select_training_samples(proposals, targets)
        positive = [torch.where(of_image > 0)[0] for of_image in labels]
        losses = self._mask_loss(
            features,
            [boxes[index] for boxes, index in zip(proposals, positive, strict=True)],
            [of_image[index] for of_image, index in zip(matched_index, positive, strict=True)],
            image_shapes,
            targets,
        )
        boxes = proposals
        for stage, coder in enumerate(self.box_coders):
            labels, matched_boxes = _match(self.matchers[stage], boxes, targets)
            logits, deltas = self._predict(stage, features, boxes, image_shapes)
            loss_classifier, loss_box_reg = fastrcnn_loss(
                logits,
                deltas.repeat(1, self.num_classes),
                labels,
                list(coder.encode(matched_boxes, boxes)),
            )
            losses[f"loss_classifier_{stage + 1}"] = loss_classifier
            losses[f"loss_box_reg_{stage + 1}"] = loss_box_reg
            boxes = self._refine(stage, deltas.detach(), boxes, image_shapes)
        return losses

    def _mask_loss(
        self,
        features: dict[str, Tensor],
        boxes: list[Tensor],
        matched_index: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: Targets,
    ) -> dict[str, Tensor]:
        pooled = self.mask_roi_pool(features, boxes, image_shapes)
        logits = self.mask_predictor(self.mask_head(pooled))
        masks, labels = [t["masks"] for t in targets], [t["labels"] for t in targets]
        return {"loss_mask": maskrcnn_loss(logits, boxes, masks, labels, matched_index)}

    def _predictions(
        self,
        features: dict[str, Tensor],
        boxes: list[Tensor],
        image_shapes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        scores = []
        for stage in range(len(self.box_coders)):
            proposals = boxes
            logits, deltas = self._predict(stage, features, proposals, image_shapes)
            scores.append(logits.softmax(-1))
            boxes = self._refine(stage, deltas, proposals, image_shapes)
        # The softmax inside postprocess_detections gives these averages back from their logarithm.
        kept_boxes, kept_scores, kept_labels = self.postprocess_detections(
            torch.stack(scores).mean(0).log(),
            deltas.repeat(1, self.num_classes),
            proposals,
            image_shapes,
        )
        pooled = self.mask_roi_pool(features, kept_boxes, image_shapes)
        masks = maskrcnn_inference(self.mask_predictor(self.mask_head(pooled)), kept_labels)
        return [
            {"boxes": b, "labels": label, "scores": s, "masks": m}
            for b, label, s, m in zip(kept_boxes, kept_labels, kept_scores, masks, strict=True)
        ]

    def _predict(
        self,
        stage: int,
        features: dict[str, Tensor],
        boxes: list[Tensor],
        image_shapes: list[tuple[int, int]],
    ) -> tuple[Tensor, Tensor]:
        """Return (R, num_classes) logits and (R, 4) deltas of one stage for all boxes of the batch."""
        pooled = self.box_roi_pool(features, boxes, image_shapes)
        if pooled.requires_grad:  # so that three heads pull at the features as one does
            pooled.register_hook(lambda gradient: gradient / len(self.box_coders))
        return self.box_predictor[stage](self.box_head[stage](pooled))

    def _refine(
        self, stage: int, deltas: Tensor, boxes: list[Tensor], image_shapes: list[tuple[int, int]]
    ) -> list[Tensor]:
        refined = self.box_coders[stage].decode(deltas, boxes).reshape(-1, 4)
        return [
            clip_boxes_to_image(of_image, shape)
            for of_image, shape in zip(refined.split([len(b) for b in boxes]), image_shapes, strict=True)
        ]


def _match(matcher: Matcher, boxes: list[Tensor], targets: Targets) -> tuple[list[Tensor], list[Tensor]]:
    """Return, per image, the label of each box (0 where it matches no object) and its object's box."""
    labels, matched_boxes = [], []
    for of_image, target in zip(boxes, targets, strict=True):
        truth = target["boxes"].to(of_image)
        if not len(truth) or not len(of_image):
            labels.append(torch.zeros(len(of_image), dtype=torch.int64, device=of_image.device))
            matched_boxes.append(of_image)
            continue
        index = matcher(box_iou(truth, of_image))
        labels.append(target["labels"][index.clamp(min=0)].where(index >= 0, 0))
        matched_boxes.append(truth[index.clamp(min=0)])
    return labels, matched_boxes


def _box_head(channels: int) -> nn.Module:
    return FastRCNNConvFCHead((channels, 7, 7), [channels] * 4, [4 * channels], norm_layer=nn.BatchNorm2d)


def _box_predictor(channels: int, num_classes: int) -> FastRCNNPredictor:
    predictor = FastRCNNPredictor(channels, num_classes)
    predictor.bbox_pred = nn.Linear(channels, 4)  # one box for all classes
    return predictor
