"""Non-maximum suppression (NMS) and soft-NMS, for each class separately."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_iou

from mvit_det.errors import unknown_name

SIGMA = 0.5  # of the Gaussian, as in the paper
MIN_SCORE = 0.001  # detections whose score is reduced to less are removed, as by the authors' code


def _linear(iou: Tensor, iou_threshold: float) -> Tensor:
    return torch.where(iou < iou_threshold, 1.0, 1 - iou)


def _gaussian(iou: Tensor, iou_threshold: float) -> Tensor:
    return torch.exp(-iou.square() / SIGMA)


# Method of soft-NMS -> the factors by which a box reduces the scores of others, from their IoU with it.
SOFT_NMS: dict[str, Callable[[Tensor, float], Tensor]] = {"linear": _linear, "gaussian": _gaussian}


def check_soft_nms(method: str | None) -> None:
    """Check that ``method`` is a key of :data:`SOFT_NMS`, or None.

    Raises:
        InputError: if it is not.
    """
    if method is not None and method not in SOFT_NMS:
        raise unknown_name("method of soft-NMS", method, SOFT_NMS)


def suppress(
    boxes: Tensor,
    scores: Tensor,
    classes: Tensor,
    *,
    iou_threshold: float,
    max_detections: int,
    soft_nms: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Select the detections of one image, so that each object is detected once.

    NMS removes a box if its IoU with a box of the same class and a higher score is above the threshold.
    Soft-NMS reduces its score instead.

    Args:
        boxes: (N, 4), XYXY in px.
        scores: (N,), positive.
        classes: (N,), integers.
        iou_threshold: IoU above which NMS removes a box, and from which linear soft-NMS reduces its score.
        max_detections: maximum number of detections; a negative number stands for no limit.
        soft_nms: key of :data:`SOFT_NMS`, or None for NMS.

    Returns:
        the indices of the selected boxes (M,), highest score first, and their scores (M,), which soft-NMS has
        changed.

    Raises:
        InputError: if ``soft_nms`` is unknown.

    Source: Soft-NMS, arXiv 1704.04503.
    """
    check_soft_nms(soft_nms)
    limit = len(scores) if max_detections < 0 else min(max_detections, len(scores))
    if soft_nms is None:
        kept = batched_nms(boxes, scores, classes, iou_threshold)[:limit]
        return kept, scores[kept]
    return _soft_nms(boxes, scores, classes, iou_threshold, limit, soft_nms)


def _soft_nms(
    boxes: Tensor, scores: Tensor, classes: Tensor, iou_threshold: float, limit: int, method: str
) -> tuple[Tensor, Tensor]:
    # Classes do not influence each other, and each of them selects its boxes by falling score. Always
    # selecting the best box of any class therefore gives the same boxes and scores as a loop over the
    # classes, and reaches the limit after as many steps.
    if not limit:
        return classes.new_empty(0, dtype=torch.int64), scores[:0]
    scores = scores.clone()
    kept, kept_scores = [], []
    for _ in range(limit):
        score, best = scores.max(0, keepdim=True)
        kept.append(best)
        kept_scores.append(score)
        iou = box_iou(boxes[best], boxes)[0].nan_to_num(0)  # NaN between two boxes without area
        factors = SOFT_NMS[method](iou, iou_threshold)
        scores = torch.where(classes == classes[best], scores * factors, scores)
        scores[best] = 0  # selected
    selected_scores = torch.cat(kept_scores)
    is_kept = selected_scores > MIN_SCORE
    return torch.cat(kept)[is_kept], selected_scores[is_kept]
