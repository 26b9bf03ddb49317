"""The heads that turn proposals into objects, and their losses."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss
from torchvision.ops import batched_nms, box_iou, clip_boxes_to_image

from mvit_det.torchvision.models.masks import crop_masks

Features = dict[str, Tensor]
Shapes = list[tuple[int, int]]
Targets = list[dict[str, Tensor]]


class Stage(NamedTuple):
    """A box head with what it predicts, how its deltas are meant, and which boxes are an object's."""

    head: nn.Module
    predictor: nn.Module
    coder: BoxCoder
    matcher: Matcher


class DetectionHeads(RoIHeads):
    """The heads of Mask R-CNN: ``plain``'s, of which this takes the place, run as Detectron2 runs them.

    Class 0 is the background. It has a score, but no box and no mask: a box predictor returns logits
    (R, 1 + K) and deltas (R, 4 K), or (R, 4) for all classes, and the mask predictor (R, K, M, M).
    Source: Mask R-CNN, arXiv 1703.06870.
    """

    def __init__(self, plain: RoIHeads) -> None:
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

    @property
    def stages(self) -> list[Stage]:
        """The box heads in a row, each on the boxes that the one before has refined."""
        return [Stage(self.box_head, self.box_predictor, self.box_coder, self.proposal_matcher)]

    def forward(
        self,
        features: Features,
        proposals: list[Tensor],
        image_shapes: Shapes,
        targets: Targets | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Return (predictions, {}) at inference and ([], losses) in training, as torchvision's heads do."""
        if self.training:
            assert targets is not None, "training needs targets"
            return [], self._losses(features, proposals, image_shapes, targets)
        return self._predictions(features, proposals, image_shapes), {}

    def _losses(
        self, features: Features, proposals: list[Tensor], image_shapes: Shapes, targets: Targets
    ) -> dict[str, Tensor]:
        boxes, matched_index, labels, _ = self.select_training_samples(proposals, targets)
        positive = [torch.where(of_image > 0)[0] for of_image in labels]
        losses = {
            "loss_mask": self._mask_loss(
                features,
                [of_image[index] for of_image, index in zip(boxes, positive, strict=True)],
                [of_image[index] for of_image, index in zip(matched_index, positive, strict=True)],
                image_shapes,
                targets,
            )
        }
        stages = self.stages
        for number, stage in enumerate(stages, start=1):
            labels, matched_boxes = _match(stage.matcher, boxes, targets)
            logits, deltas = self._predict(stage, features, boxes, image_shapes)
            loss_classifier, loss_box_reg = fastrcnn_loss(
                logits,
                _with_background(deltas, logits.shape[1]),
                labels,
                list(stage.coder.encode(matched_boxes, boxes)),
            )
            suffix = f"_{number}" if len(stages) > 1 else ""
            losses[f"loss_classifier{suffix}"] = loss_classifier
            losses[f"loss_box_reg{suffix}"] = loss_box_reg
            if number < len(stages):
                boxes = _refine(stage.coder, deltas.detach(), boxes, image_shapes)
        return losses

    def _mask_loss(
        self,
        features: Features,
        boxes: list[Tensor],
        matched_index: list[Tensor],
        image_shapes: Shapes,
        targets: Targets,
    ) -> Tensor:
        pooled = self.mask_roi_pool(features, boxes, image_shapes)
        logits = self.mask_predictor(self.mask_head(pooled))  # (R, K, M, M)
        pictures = list(zip(targets, boxes, matched_index, strict=True))
        labels = torch.cat([target["labels"][index] for target, _, index in pictures])
        side = logits.shape[-1]
        truth = torch.cat([crop_masks(target["masks"], b, index, side) for target, b, index in pictures])
        if not len(labels):
            return logits.sum() * 0
        return F.binary_cross_entropy_with_logits(_of_class(logits, labels), truth)

    def _predictions(
        self, features: Features, proposals: list[Tensor], image_shapes: Shapes
    ) -> list[dict[str, Tensor]]:
        boxes, scores, stages = proposals, [], self.stages
        for number, stage in enumerate(stages, start=1):
            logits, deltas = self._predict(stage, features, boxes, image_shapes)
            scores.append(logits.softmax(-1))
            if number < len(stages):
                boxes = _refine(stage.coder, deltas, boxes, image_shapes)
        counts = [len(of_image) for of_image in boxes]
        mean_scores = torch.stack(scores).mean(0).split(counts)  # each (R, 1 + K)
        boxes = stages[-1].coder.decode(deltas, boxes).reshape(len(deltas), deltas.shape[1] // 4, 4)
        pictures = zip(boxes.split(counts), mean_scores, image_shapes, strict=True)
        found = [self._select(*picture) for picture in pictures]
        pooled = self.mask_roi_pool(features, [of_image["boxes"] for of_image in found], image_shapes)
        logits = self.mask_predictor(self.mask_head(pooled))
        masks = _of_class(logits, torch.cat([of_image["labels"] for of_image in found])).sigmoid()
        for of_image, own in zip(found, masks.split([len(f["boxes"]) for f in found]), strict=True):
            of_image["masks"] = own[:, None]  # (N, 1, M, M), in the cells of the boxes
        return found

    def _select(self, boxes: Tensor, scores: Tensor, shape: tuple[int, int]) -> dict[str, Tensor]:
        """Return the best detections of a picture.

        Args:
            boxes: (R, K, 4) of each class, or (R, 1, 4), XYXY in px.
            scores: (R, 1 + K).
            shape: (height, width) of the picture, px.
        """
        finite = boxes.isfinite().flatten(1).all(1) & scores.isfinite().all(1)
        boxes, scores = clip_boxes_to_image(boxes[finite], shape), scores[finite, 1:]
        region, category = torch.where(scores > self.score_thresh)
        boxes = boxes[region, category.clamp(max=boxes.shape[1] - 1)]
        scores = scores[region, category]
        kept = batched_nms(boxes, scores, category, self.nms_thresh)[: self.detections_per_img]
        return {"boxes": boxes[kept], "labels": category[kept] + 1, "scores": scores[kept]}

    def _predict(
        self, stage: Stage, features: Features, boxes: list[Tensor], image_shapes: Shapes
    ) -> tuple[Tensor, Tensor]:
        """Return the logits and the deltas of one stage for all boxes of the batch."""
        pooled = self.box_roi_pool(features, boxes, image_shapes)
        if pooled.requires_grad:  # so that three heads pull at the features as one does
            pooled.register_hook(lambda gradient: gradient / len(self.stages))
        return stage.predictor(stage.head(pooled))


def _with_background(deltas: Tensor, num_classes: int) -> Tensor:
    """Return (R, 4 num_classes) deltas as torchvision's loss takes them, with some for the background."""
    if deltas.shape[1] == 4:
        return deltas.repeat(1, num_classes)
    return F.pad(deltas, (4, 0))


def _of_class(masks: Tensor, labels: Tensor) -> Tensor:
    """Return the mask of each region's class, (R, M, M), of its masks of all classes, (R, K, M, M)."""
    return masks[torch.arange(len(masks), device=masks.device), labels - 1]


def _refine(coder: BoxCoder, deltas: Tensor, boxes: list[Tensor], image_shapes: Shapes) -> list[Tensor]:
    """Return the boxes of each picture moved by (R, 4) deltas, and cut where they leave the picture."""
    refined = coder.decode(deltas, boxes).reshape(-1, 4).split([len(of_image) for of_image in boxes])
    return [clip_boxes_to_image(b, shape) for b, shape in zip(refined, image_shapes, strict=True)]


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
