"""Non-maximum suppression (NMS) and soft-NMS, for each class separately."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_iou, clip_boxes_to_image

from mvit_det.errors import unknown_name

SIGMA = 0.5  # of the Gaussian, as in the paper
NUM_CANDIDATES = 2000  # boxes among which NMS looks for the detections first
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


def select_detections(
    boxes: Tensor,
    scores: Tensor,
    shape: tuple[int, int],
    *,
    min_score: float,
    iou_threshold: float,
    max_detections: int,
    soft_nms: str | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Select the detections of one image from what a box head predicts for R regions and K classes.

    Regions with a value that is not finite are left out, and boxes are clipped to the image.

    Args:
        boxes: (R, K, 4), one box for each class, or (R, 1, 4), XYXY in px.
        scores: (R, K), without that of the background.
        shape: (height, width) of the image, px.
        min_score: detections have a score above it.
        iou_threshold: see :func:`suppress`.
        max_detections: see :func:`suppress`.
        soft_nms: see :func:`suppress`.

    Returns:
        boxes (M, 4), scores (M,) and classes (M,), from 0, highest score first.
    """
    is_finite = boxes.isfinite().flatten(1).all(1) & scores.isfinite().all(1)
    boxes, scores = clip_boxes_to_image(boxes[is_finite], shape), scores[is_finite]
    region, classes = torch.where(scores > min_score)
    boxes = boxes[region, classes.clamp(max=boxes.shape[1] - 1)]
    kept, scores = suppress(
        boxes,
        scores[region, classes],
        classes,
        iou_threshold=iou_threshold,
        max_detections=max_detections,
        soft_nms=soft_nms,
    )
    return boxes[kept], scores, classes[kept]


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
        kept = _nms(boxes, scores, classes, iou_threshold, limit)
        return kept, scores[kept]
    return _soft_nms(boxes, scores, classes, iou_threshold, limit, soft_nms)


def _nms(boxes: Tensor, scores: Tensor, classes: Tensor, iou_threshold: float, limit: int) -> Tensor:
    # Whether NMS removes a box depends on those with higher scores only. If the best boxes give enough
    # detections, the others are not needed, and there may be 80,000 of them.
    order = scores.argsort(descending=True, stable=True)
    num_candidates = max(NUM_CANDIDATES, limit)
    while True:
        best = order[:num_candidates]
        kept = best[batched_nms(boxes[best], scores[best], classes[best], iou_threshold)[:limit]]
        if len(kept) == limit or num_candidates >= len(order):
            return kept
        num_candidates *= 4


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
