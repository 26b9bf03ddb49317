"""How far the detections of an exported model agree with those of its checkpoint, image by image."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MIN_IOU = 0.99  # of the boxes, and of the masks, of two detections that match
MAX_SCORE_DIFFERENCE = 1e-3  # of two detections that match
PAIR_IOU = 0.5  # of the boxes of two detections that are compared although they do not match

Array = NDArray[Any]


@dataclass(frozen=True)
class Unmatched:
    """A detection that the other model lacks, or has with another score, box or mask.

    Attributes:
        model: the model that has it, ``"checkpoint"`` or ``"export"``.
        class_name: name of its class.
        score: its score, in 0..1.
        difference: how it differs from that of the other model.
    """

    model: str
    class_name: str
    score: float
    difference: str

    def __str__(self) -> str:
        return f"{self.class_name} of the {self.model} with score {self.score:.4f}: {self.difference}"


@dataclass(frozen=True)
class Agreement:
    """The agreement on one image or on several.

    Attributes:
        num_checkpoint: number of detections of the checkpoint.
        num_export: number of detections of the exported model.
        num_matched: number of pairs that match.
        score_difference: the largest difference in score between two detections of a pair.
        box_difference: the largest difference in a coordinate of their boxes, px of the original image.
        mask_difference: the largest 1 - IoU of their masks; 0 without masks.
        unmatched: the unmatched detections of both models, of each with the highest score first.
    """

    num_checkpoint: int = 0
    num_export: int = 0
    num_matched: int = 0
    score_difference: float = 0.0
    box_difference: float = 0.0
    mask_difference: float = 0.0
    unmatched: tuple[Unmatched, ...] = ()

    @property
    def share(self) -> float:
        """The share of the detections of both that match, in 0..1; 1 if there are none."""
        matched = 2 * self.num_matched
        total = matched + len(self.unmatched)
        return matched / total if total else 1.0


def total_agreement(agreements: Iterable[Agreement]) -> Agreement:
    """Return the agreement on all images: sums, and the largest differences."""
    items = [Agreement(), *agreements]
    return Agreement(
        num_checkpoint=sum(item.num_checkpoint for item in items),
        num_export=sum(item.num_export for item in items),
        num_matched=sum(item.num_matched for item in items),
        score_difference=max(item.score_difference for item in items),
        box_difference=max(item.box_difference for item in items),
        mask_difference=max(item.mask_difference for item in items),
        unmatched=tuple(unmatched for item in items for unmatched in item.unmatched),
    )


def compare_detections(checkpoint: Any, export: Any, *, min_score: float, max_detections: int) -> Agreement:
    """Compare the detections of a checkpoint and of its export in one image.

    Two detections match if they have the same class, boxes with an IoU above :data:`MIN_IOU`, scores that
    differ by at most :data:`MAX_SCORE_DIFFERENCE` and, with masks, masks with an IoU above :data:`MIN_IOU`.
    Each detection matches at most one. They are matched greedily, in the order of the scores of the
    checkpoint. Of the others, those of the same class with an IoU above :data:`PAIR_IOU` are paired in the
    same way. The differences are the largest over the pairs of both kinds.

    A detection without a match does not count as unmatched if rounding decides whether the other model has
    it: if its score exceeds ``min_score``, or the lowest score of ``max_detections`` detections of the other
    model, by at most :data:`MAX_SCORE_DIFFERENCE`.

    Args:
        checkpoint: detections with ``xyxy``, ``confidence``, ``class_id``, ``mask`` and
            ``data["class_name"]``, as :class:`mvit_det.runtime.Detections`, the highest score first.
        export: the same of the exported model.
        min_score: the lowest score of a detection.
        max_detections: the largest number of detections.
    """
    iou = _box_iou(checkpoint.xyxy, export.xyxy)  # (C, E)
    iou[checkpoint.class_id[:, None] != export.class_id] = 0
    is_near = iou > PAIR_IOU
    mask_iou = _mask_iou(checkpoint.mask, export.mask, is_near)
    score_difference = np.abs(checkpoint.confidence[:, None].astype(float) - export.confidence)

    is_match = (iou > MIN_IOU) & (mask_iou > MIN_IOU) & (score_difference <= MAX_SCORE_DIFFERENCE)
    matches = _pair(is_match, iou)
    is_near[matches[0]] = is_near[:, matches[1]] = False
    others = _pair(is_near, iou)
    rows, columns = (np.concatenate(indices) for indices in zip(matches, others, strict=True))
    box_difference = np.abs(checkpoint.xyxy[rows] - export.xyxy[columns])

    def describe(row: int, column: int) -> str:
        scores = f"scores {checkpoint.confidence[row]:.4f} and {export.confidence[column]:.4f}"
        masks = "" if export.mask is None else f", mask IoU {mask_iou[row, column]:.4f}"
        return f"{scores}, box IoU {iou[row, column]:.4f}{masks}"

    def find_unmatched(
        model: str, detections: Any, others: Any, matched: Array, differences: dict[int, str]
    ) -> list[Unmatched]:
        names, scores = detections.data["class_name"], detections.confidence
        is_unmatched = scores > _limit(others.confidence, min_score, max_detections)
        is_unmatched[matched] = False
        return [
            Unmatched(
                model,
                str(names[i]),
                float(scores[i]),
                differences.get(i, "the other model does not detect it"),
            )
            for i in np.flatnonzero(is_unmatched).tolist()
        ]

    differences = [describe(*pair) for pair in zip(*others, strict=True)]
    in_checkpoint, in_export = (dict(zip(index.tolist(), differences, strict=True)) for index in others)
    unmatched = [
        *find_unmatched("checkpoint", checkpoint, export, matches[0], in_checkpoint),
        *find_unmatched("export", export, checkpoint, matches[1], in_export),
    ]
    return Agreement(
        num_checkpoint=len(checkpoint.xyxy),
        num_export=len(export.xyxy),
        num_matched=len(matches[0]),
        score_difference=float(score_difference[rows, columns].max(initial=0)),
        box_difference=float(box_difference.max(initial=0)),
        mask_difference=float((1 - mask_iou[rows, columns]).max(initial=0)),
        unmatched=tuple(unmatched),
    )


def _limit(scores: Array, min_score: float, max_detections: int) -> float:
    """Return the score above which a model with these scores has every detection, whatever the rounding."""
    lowest = float(scores.min()) if len(scores) >= max_detections else 0.0
    return max(min_score, lowest) + MAX_SCORE_DIFFERENCE


def _pair(is_candidate: Array, iou: Array) -> tuple[Array, Array]:
    """Return the rows and columns of one-to-one pairs: each row takes the free column of highest IoU."""
    is_free = np.ones(iou.shape[1], bool)
    pairs = []
    for row, candidates in enumerate(is_candidate):
        if (candidates & is_free).any():
            column = int(np.argmax(np.where(candidates & is_free, iou[row], -1)))
            is_free[column] = False
            pairs.append((row, column))
    rows, columns = np.array(pairs, int).reshape(-1, 2).T
    return rows, columns


def _box_iou(a: Array, b: Array) -> Array:
    """Return the IoU of (A, 4) and (B, 4) boxes XYXY, (A, B)."""
    a, b = a[:, None].astype(float), b[None].astype(float)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    intersection = sides.clip(0).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - intersection
    return intersection / union


def _mask_iou(a: Array | None, b: Array | None, is_near: Array) -> Array:
    """Return the IoU of (A, H, W) and (B, H, W) masks where ``is_near``, (A, B), and 1 elsewhere.

    The IoU is 1 if the detections have no masks, and for two empty masks.
    """
    iou = np.ones(is_near.shape)
    if a is not None and b is not None:
        for row, column in np.argwhere(is_near).tolist():
            union = np.count_nonzero(a[row] | b[column])
            if union:
                iou[row, column] = np.count_nonzero(a[row] & b[column]) / union
    return iou
