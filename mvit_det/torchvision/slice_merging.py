"""Merging of the detections in overlapping slices of an image.

Supervision's InferenceSlicer is not used. It compares detections by their IoU, which keeps the pieces of
objects that a slice cuts, or by the part of the smaller one that the larger one covers, which also removes
whole objects.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import supervision as sv
from numpy.typing import NDArray
from supervision.detection.compact_mask import CompactMask

IOU_THRESHOLD = 0.5  # above which detections of two slices are the same object
TOLERANCE = 0.01  # distance of a box from the edge that cuts its object, as a part of the slice


def merge_slices(
    detections: Sequence[sv.Detections], slices: Sequence[tuple[int, int, int, int]]
) -> sv.Detections:
    """Merge the detections of overlapping slices, so that each object is detected once.

    1. An object that the edge of a slice cuts is removed if its box lies inside another slice, which sees
       more of the object.
    2. Detections of a class in two slices are the same object if their boxes, inside the region that both
       slices see, have an IoU of more than ``IOU_THRESHOLD``. A whole object is preferred to one that is cut,
       and then the higher score. An object that is cut in all slices is the union of its parts.

    Args:
        detections: the detections of each slice, in pixels of the image; all with masks, or all without.
        slices: left, top, right and bottom of each slice, px.

    Returns:
        the detections of the image, highest score first.
    """
    merged: Any = sv.Detections.merge(list(detections))
    if merged.is_empty():
        return detections[0]
    slice_of = np.repeat(np.arange(len(slices)), [len(each) for each in detections])
    is_cut, is_seen_elsewhere = _find_cut(merged.xyxy, slice_of, np.array(slices))
    kept = ~(is_cut & is_seen_elsewhere)
    merged, slice_of, is_cut = merged[kept], slice_of[kept], is_cut[kept]
    ranks = np.lexsort((-merged.confidence, is_cut))  # whole objects first
    groups = _group(ranks.tolist(), slice_of, _find_matches(merged, slice_of, slices))
    groups.sort(key=lambda group: -merged.confidence[group[0]])
    result = merged[np.array([group[0] for group in groups], int)]
    objects = [group if is_cut[group[0]] else group[:1] for group in groups]
    result.xyxy = np.array([_union_of_boxes(merged.xyxy[members]) for members in objects]).reshape(-1, 4)
    if merged.mask is not None and objects:
        result.mask = CompactMask.merge([_union_of_masks(merged.mask[members]) for members in objects])
    return result


def _find_cut(
    boxes: NDArray[Any], slice_of: NDArray[np.int_], slices: NDArray[np.int_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which boxes touch an edge of their slice, and which lie inside any slice (K,), (K,).

    Edges of the image do not count.
    """
    image = np.concatenate([slices[:, :2].min(0), slices[:, 2:].max(0)])
    tolerance = TOLERANCE * (slices[0, 2:] - slices[0, :2]).max()
    is_cut, is_inside = np.zeros((2, len(boxes)), bool)
    for number, edges in enumerate(slices):
        distances = np.where(edges == image, np.inf, (boxes - edges) * [1, 1, -1, -1])  # positive inside
        nearest = distances.min(1)
        is_cut |= (slice_of == number) & (nearest <= tolerance)
        # Twice the tolerance, because the box of the object in this slice may differ by as much.
        is_inside |= nearest > 2 * tolerance
    return is_cut, is_inside


def _find_matches(
    detections: Any, slice_of: NDArray[np.int_], slices: Sequence[tuple[int, int, int, int]]
) -> dict[int, set[int]]:
    """Return detection -> the detections of other slices that are the same object."""
    members = [np.flatnonzero(slice_of == number) for number in range(len(slices))]
    matches: dict[int, set[int]] = defaultdict(set)
    for one, other in combinations(range(len(slices)), 2):
        low = np.maximum(slices[one][:2], slices[other][:2])
        high = np.minimum(slices[one][2:], slices[other][2:])
        if (low >= high).any():
            continue
        rows, columns = members[one], members[other]
        regions = [detections.xyxy[indexes].clip([*low, *low], [*high, *high]) for indexes in (rows, columns)]
        classes = detections.class_id
        is_same = (sv.box_iou_batch(*regions) > IOU_THRESHOLD) & (classes[rows][:, None] == classes[columns])
        for row, column in np.argwhere(is_same).tolist():
            matches[int(rows[row])].add(int(columns[column]))
            matches[int(columns[column])].add(int(rows[row]))
    return matches


def _group(ranks: Sequence[int], slice_of: NDArray[np.int_], matches: dict[int, set[int]]) -> list[list[int]]:
    """Divide detections into objects, each with at most one detection of each slice, the best one first."""
    position = {index: position for position, index in enumerate(ranks)}
    groups: dict[int, list[int]] = {}  # detection -> its group
    for index in ranks:
        earlier = sorted((other for other in matches[index] if other in groups), key=position.__getitem__)
        for group in (groups[other] for other in earlier):
            if slice_of[index] not in slice_of[group]:
                group.append(index)
                break
        else:
            group = [index]
        groups[index] = group
    return [group for index, group in groups.items() if group[0] == index]


def _union_of_boxes(boxes: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([boxes[:, :2].min(0), boxes[:, 2:].max(0)])


def _union_of_masks(masks: CompactMask) -> CompactMask:
    if len(masks) == 1:
        return masks
    left, top, right, bottom = _union_of_boxes(masks.bbox_xyxy).tolist()
    union = np.zeros((1, bottom - top + 1, right - left + 1), bool)
    for index, (x, y) in enumerate(masks.offsets - [left, top]):
        crop = masks.crop(index)
        union[0, y : y + crop.shape[0], x : x + crop.shape[1]] |= crop
    box = np.array([[0, 0, right - left, bottom - top]])
    return CompactMask.from_dense(union, box, union.shape[1:]).with_offset(left, top, masks.shape[1:])
