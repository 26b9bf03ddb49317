"""A detector with outputs of a fixed shape, for :func:`torch.export.export`."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection import FasterRCNN

from mvit_det.backbone.attention import MultiScaleAttention
from mvit_det.export.proposals import clip_boxes, select_proposals
from mvit_det.export.region_pool import pool_boxes
from mvit_det.export.suppression import select_best
from mvit_det.torchvision.models.masks import select_class_masks
from mvit_det.torchvision.models.roi_pool import BOX_SIZE, MASK_SIZE, STRIDES


class ExportableDetector(nn.Module):
    """A detector of :func:`mvit_det.torchvision.build_detector` for :func:`torch.export.export`.

    It takes scaled images, detects the same objects, and shares the weights of the detector. Its results are
    padded to a fixed number of detections. Batch size, height and width can be dynamic.

    Args:
        detector: the detector, in eval mode. Its soft-NMS is not used.
        min_score: detections have a score above it.
        max_detections: number K of detections in the results for an image.

    Attributes:
        output_names: names of the results, in their order.
    """

    def __init__(self, detector: FasterRCNN, min_score: float = 0.05, max_detections: int = 100) -> None:
        super().__init__()
        assert not detector.training, "the detector must be in eval mode"
        self.detector, self.min_score, self.max_detections = detector, min_score, max_detections
        masks = ("masks",) if detector.roi_heads.has_mask() else ()
        self.output_names = ("boxes", "scores", "labels", *masks, "num_detections")

    def use_attention(self, implementation: str) -> None:
        """Choose the implementation of the attention; see :mod:`mvit_det.ops.attention`."""
        for module in self.modules():
            if isinstance(module, MultiScaleAttention):
                module.implementation = implementation

    def forward(self, images: Tensor, image_sizes: Tensor) -> dict[str, Tensor]:
        """Detect the objects in a batch of images.

        Args:
            images: float32 (N, 3, H, W), RGB pixels in 0..255, padded at the bottom and right. H and W are
                multiples of 32 px.
            image_sizes: int64 (N, 2), height and width of each image without its padding, px.

        Returns:
            ``boxes`` (N, K, 4) XYXY in px, inside the image; ``scores`` (N, K), highest first; ``labels``
            int64 (N, K), from 0; ``masks`` (N, K, 28, 28), probabilities in the cells of each box, if the
            detector has a mask head; and ``num_detections`` int64 (N,). Rows from ``num_detections`` on are
            zeros. K is less than ``max_detections`` if there are fewer proposals times classes.
        """
        pyramid = self.detector.backbone(self._normalize(images, image_sizes))
        proposals, is_proposal = select_proposals(self.detector.rpn, list(pyramid.values()), image_sizes)
        maps = [pyramid[name] for name in STRIDES]
        boxes, scores = self._predict_boxes(maps, proposals, image_sizes)
        scores = scores.where(is_proposal[..., None], -math.inf)
        boxes, scores, labels = self._select_detections(boxes, scores, image_sizes)
        is_detection = scores > -math.inf
        detections = {
            "boxes": boxes,
            "scores": scores.where(is_detection, 0),
            "labels": labels.where(is_detection, 0),
        }
        if self.detector.roi_heads.has_mask():
            detections["masks"] = self._predict_masks(maps, boxes, labels, is_detection)
        return detections | {"num_detections": is_detection.sum(1)}

    def _normalize(self, images: Tensor, image_sizes: Tensor) -> Tensor:
        """Normalize pixels, and set the padding to 0."""
        y, x = (torch.arange(side, device=images.device) for side in images.shape[-2:])
        height, width = image_sizes[:, :, None, None, None].unbind(1)  # (N, 1, 1, 1)
        is_image = (y[:, None] < height) & (x < width)  # (N, 1, H, W)
        return self.detector.transform.normalize_pixels(images).where(is_image, 0)

    def _predict_boxes(
        self, maps: list[Tensor], proposals: Tensor, image_sizes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the boxes (N, P, C, 4), or (N, P, 1, 4) in a cascade, and the scores (N, P, C)."""
        boxes, scores, stages = proposals, [], self.detector.roi_heads.stages
        num_proposals = proposals.shape[1]
        image_index = torch.arange(proposals.shape[0], device=proposals.device)[:, None].expand(
            -1, num_proposals
        )
        for number, stage in enumerate(stages, start=1):
            regions = boxes.flatten(0, 1)
            pooled = pool_boxes(maps, regions, image_index.flatten(), BOX_SIZE)
            logits, deltas = stage.predictor(stage.box_head(pooled))
            scores.append(logits.softmax(-1))
            decoded = stage.coder.decode_single(deltas, regions)
            if number < len(stages):
                boxes = clip_boxes(decoded.reshape(-1, num_proposals, 4), image_sizes)
        mean_scores = torch.stack(scores).mean(0)[:, 1:]  # without that of the background
        shape = (-1, num_proposals, decoded.shape[1] // 4, 4)
        return decoded.reshape(shape), mean_scores.reshape(-1, num_proposals, mean_scores.shape[1])

    def _select_detections(
        self, boxes: Tensor, scores: Tensor, image_sizes: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return boxes (N, K, 4), scores (N, K) and classes (N, K) as :func:`mvit_det.nms.select_detections`.

        Padding rows have a score of -inf.
        """
        is_finite = boxes.isfinite().all(-1).all(-1) & scores.isfinite().all(-1)  # (N, P)
        scores = scores.where(is_finite[..., None] & (scores > self.min_score), -math.inf)
        num_proposals, num_classes = scores.shape[1:]
        boxes = clip_boxes(boxes, image_sizes).expand(-1, -1, num_classes, -1)
        boxes, scores, index = select_best(
            boxes.transpose(1, 2),
            scores.transpose(1, 2),
            self.detector.roi_heads.nms_thresh,
            self.max_detections,
        )
        return boxes, scores, index // num_proposals

    def _predict_masks(
        self, maps: list[Tensor], boxes: Tensor, labels: Tensor, is_detection: Tensor
    ) -> Tensor:
        """Return the probabilities (N, K, M, M) in the cells of each box, and zeros in padding rows."""
        heads = self.detector.roi_heads
        # The mask head is slow, so it runs only for rows with a detection.
        image_index, row = torch.where(is_detection)
        pooled = pool_boxes(maps, boxes[image_index, row], image_index, MASK_SIZE)
        # Add a region of zeros: batch norm cannot be traced if the number of regions may be 0.
        pooled = F.pad(pooled, (0, 0, 0, 0, 0, 0, 0, 1))
        logits = heads.mask_predictor(heads.mask_head(pooled))[:-1]
        masks = select_class_masks(logits, labels[image_index, row] + 1).sigmoid()
        padded = masks.new_zeros(*labels.shape, *masks.shape[1:])
        return padded.index_put((image_index, row), masks)
