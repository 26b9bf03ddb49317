"""Checks that two detectors with the same weights detect the same objects."""

from collections.abc import Sequence
from typing import Any

import torch
from torchvision.ops import box_iou

from mvit_det.benchmark.detectors import Detections

MAX_SCORE_DIFFERENCE = 1e-5  # in float32
MIN_IOU = 0.99  # of boxes, and of masks
# Rounding changes the order of two proposals or detections with almost the same score, and thereby which of
# two that overlap is kept.
MIN_MATCHED = 0.97


def compare_detections(ours: Sequence[Detections], theirs: Sequence[Detections]) -> dict[str, Any]:
    """Compare the detections of two detectors in the same images, in float32.

    A detection matches one of the same class whose box and mask have an IoU of at least :data:`MIN_IOU`, and
    whose score differs by at most :data:`MAX_SCORE_DIFFERENCE`.

    Returns:
        ``detections``: the number of detections; ``matched``: how many of them match;
        ``score_difference``: the largest difference between the scores of those that match;
        ``agree``: whether at least :data:`MIN_MATCHED` of the detections match.
    """
    total = 0
    differences = []
    for a, b in zip(ours, theirs, strict=True):
        total += max(len(a["scores"]), len(b["scores"]))
        differences += [(a["scores"][row] - b["scores"][column]).abs().item() for row, column in match(a, b)]
    return {
        "detections": total,
        "matched": len(differences),
        "score_difference": max(differences, default=0.0),
        "agree": total > 0 and len(differences) >= MIN_MATCHED * total,
    }


def match(a: Detections, b: Detections) -> list[tuple[int, int]]:
    """Return the indexes of the detections that match, each of them at most once."""
    if not len(a["scores"]) or not len(b["scores"]):
        return []
    is_equal = (a["classes"][:, None] == b["classes"]) & (box_iou(a["boxes"], b["boxes"]) >= MIN_IOU)
    is_equal &= (a["scores"][:, None] - b["scores"]).abs() <= MAX_SCORE_DIFFERENCE
    pairs: list[tuple[int, int]] = []
    is_taken = torch.zeros_like(b["classes"], dtype=torch.bool)
    for row, column in is_equal.nonzero().tolist():
        has_partner = bool(pairs) and pairs[-1][0] == row
        if not has_partner and not is_taken[column] and _mask_iou(a, row, b, column) >= MIN_IOU:
            is_taken[column] = True
            pairs.append((row, column))
    return pairs


def _mask_iou(a: Detections, row: int, b: Detections, column: int) -> float:
    first, second = a["masks"][row], b["masks"][column]
    union = (first | second).sum().item()
    return (first & second).sum().item() / union if union else 1.0
