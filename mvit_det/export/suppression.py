"""Non-maximum suppression (NMS) with results of a fixed shape."""

import math

import torch
from torch import Tensor
from torchvision.ops import nms

from mvit_det.ops.custom_op import operator


def _empty_scores(boxes: Tensor, scores: Tensor, iou_threshold: float, max_boxes: int) -> Tensor:
    return scores.new_empty(scores.shape)


@operator("suppress", _empty_scores)
def suppress(boxes: Tensor, scores: Tensor, iou_threshold: float, max_boxes: int) -> Tensor:
    """Return the scores (B, R), with -inf for the boxes that NMS removes.

    A box is removed if its IoU with a box of the same group and a higher score is above the threshold.

    Args:
        boxes: (B, R, 4), XYXY in px; R boxes in each of B groups.
        scores: (B, R). Boxes with -inf are ignored, whatever their coordinates.
        iou_threshold: IoU above which a box is removed.
        max_boxes: largest number of boxes to keep in a group: those with the highest scores.
    """
    kept = scores.new_full(scores.shape, -math.inf)
    is_candidate = scores > -math.inf
    for group in torch.where(is_candidate.any(1))[0].tolist():
        candidates = torch.where(is_candidate[group])[0]
        best = nms(boxes[group, candidates], scores[group, candidates], iou_threshold)[:max_boxes]
        index = candidates[best]
        kept[group, index] = scores[group, index]
    return kept


def select_best(
    boxes: Tensor, scores: Tensor, iou_threshold: float, max_boxes: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Select the best boxes of each image after NMS within each group.

    Args:
        boxes: (N, G, R, 4), XYXY in px; R boxes in each of G groups.
        scores: (N, G, R), -inf for boxes that are not to be selected.
        iou_threshold: see :func:`suppress`.
        max_boxes: number K of boxes to select from an image, or G * R if that is less.

    Returns:
        boxes (N, K, 4), their scores (N, K), highest first, and their indices (N, K) among the G * R of the
        image. If fewer boxes can be selected, the others have a score of -inf and zeros as boxes.
    """
    num_candidates = scores.shape[1] * scores.shape[2]
    kept = suppress(boxes.flatten(0, 1), scores.flatten(0, 1), iou_threshold, max_boxes)
    best, index = kept.reshape(-1, num_candidates).topk(min(max_boxes, num_candidates))
    selected = boxes.flatten(1, 2).gather(1, index[..., None].expand(-1, -1, 4))
    return selected.where((best > -math.inf)[..., None], 0), best, index
