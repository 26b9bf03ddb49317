"""Non-maximum suppression and soft-NMS."""

import math

import pytest
import torch
from torchvision.ops import batched_nms, box_iou

from mvit_det.errors import InputError
from mvit_det.nms import NUM_CANDIDATES, SOFT_NMS, select_detections, suppress

# IoU with the first box: 1, 0.8, 0.4 and 0. IoU of the second with the third: 0.5.
BOXES = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 4], [20, 0, 30, 10]])
SCORES = torch.tensor([0.9, 0.8, 0.7, 0.3])
ONE_CLASS = torch.zeros(4, dtype=torch.int64)


def select(method, boxes=BOXES, scores=SCORES, classes=ONE_CLASS, limit=100, iou_threshold=0.5):
    kept, selected_scores = suppress(
        boxes, scores, classes, iou_threshold=iou_threshold, max_detections=limit, soft_nms=method
    )
    return kept.tolist(), pytest.approx(selected_scores.tolist(), abs=1e-6)


def naive_soft_nms(boxes, scores, method, iou_threshold):
    """The algorithm of figure 2 of the paper for one class, with lists. Returns index -> score."""
    remaining = {index: score.item() for index, score in enumerate(scores)}
    selected = {}
    while remaining:
        best = max(remaining, key=remaining.get)
        selected[best] = remaining.pop(best)
        for index in remaining:
            iou = box_iou(boxes[best][None].double(), boxes[index][None].double()).item()
            if method == "gaussian":
                remaining[index] *= math.exp(-(iou**2) / 0.5)
            elif iou >= iou_threshold:
                remaining[index] *= 1 - iou
    return selected


def test_nms_removes_what_overlaps_by_more_than_the_threshold():
    assert select(None) == ([0, 2, 3], [0.9, 0.7, 0.3])
    assert select(None, iou_threshold=0.3) == ([0, 3], [0.9, 0.3])
    assert select(None, limit=1) == ([0], [0.9])


@pytest.mark.parametrize("size", [5, 500])  # px: few boxes overlap, or almost all of them
@pytest.mark.parametrize("limit", [10, 3000, -1])
def test_nms_of_many_boxes_equals_that_of_torchvision(limit, size):
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(3 * NUM_CANDIDATES, 2, generator=generator) * 200
    boxes = torch.cat((corners, corners + size), dim=1)
    scores = torch.randperm(len(boxes), generator=generator).float() / len(boxes)
    classes = torch.randint(4, (len(boxes),), generator=generator)
    expected = batched_nms(boxes, scores, classes, 0.5)
    kept, _ = suppress(boxes, scores, classes, iou_threshold=0.5, max_detections=limit)
    assert torch.equal(kept, expected if limit < 0 else expected[:limit])


def test_detections_are_finite_inside_the_image_and_above_the_threshold():
    boxes = torch.tensor([[-5.0, 2, 8, 40], [0, 0, math.inf, 5], [1, 1, 4, 4]])[:, None]  # class-agnostic
    scores = torch.tensor([[0.2, 0.9], [0.9, 0.9], [0.5, 0.1]])
    result = select_detections(boxes, scores, (20, 10), min_score=0.2, iou_threshold=0.5, max_detections=100)
    assert [values.tolist() for values in result] == [
        [[0, 2, 8, 20], [1, 1, 4, 4]],
        pytest.approx([0.9, 0.5]),
        [1, 0],
    ]


def test_linear_soft_nms_reduces_scores_from_the_threshold_on():
    # 0.8 * (1 - 0.8) = 0.16 by the first box. The third box, below the threshold with the first, is next, and
    # its IoU with the second is 0.5: 0.16 * (1 - 0.5) = 0.08.
    assert select("linear") == ([0, 2, 3, 1], [0.9, 0.7, 0.3, 0.08])
    assert select("linear", iou_threshold=0.6) == ([0, 2, 3, 1], [0.9, 0.7, 0.3, 0.16])
    assert select("linear", limit=2) == ([0, 2], [0.9, 0.7])


def test_gaussian_soft_nms_reduces_all_overlapping_boxes():
    third = 0.7 * math.exp(-2 * 0.4**2)  # 0.508
    second = 0.8 * math.exp(-2 * 0.8**2) * math.exp(-2 * 0.5**2)  # 0.135
    assert select("gaussian") == ([0, 2, 3, 1], [0.9, third, 0.3, second])


@pytest.mark.parametrize("method", SOFT_NMS)
def test_classes_do_not_influence_each_other(method):
    classes = torch.tensor([0, 1, 2, 0])
    assert select(method, classes=classes) == ([0, 1, 2, 3], [0.9, 0.8, 0.7, 0.3])
    assert select(method, classes=classes, limit=2) == ([0, 1], [0.9, 0.8])


@pytest.mark.parametrize("method", SOFT_NMS)
def test_soft_nms_equals_a_loop_over_the_classes(method):
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(120, 2, generator=generator) * 50
    boxes = torch.cat((corners, corners + 5 + 30 * torch.rand(120, 2, generator=generator)), dim=1)
    scores = torch.rand(120, generator=generator) * 0.95 + 0.05
    classes = torch.randint(3, (120,), generator=generator)
    expected = {}
    for number in range(3):
        members = torch.where(classes == number)[0]
        selected = naive_soft_nms(boxes[members], scores[members], method, 0.3)
        expected |= {members[index].item(): score for index, score in selected.items()}
    expected = {index: score for index, score in expected.items() if score > 0.001}
    order = sorted(expected, key=expected.get, reverse=True)
    for limit in (-1, 30):
        kept = order if limit < 0 else order[:limit]
        indices, selected = select(method, boxes, scores, classes, limit, iou_threshold=0.3)
        assert indices == kept
        assert selected == [expected[index] for index in kept]


@pytest.mark.parametrize("method", [None, *SOFT_NMS])
def test_no_boxes_and_boxes_without_area(method):
    assert select(method, BOXES[:0], SCORES[:0], ONE_CLASS[:0]) == ([], [])
    points = torch.full((2, 4), 5.0)
    assert select(method, points, SCORES[:2], ONE_CLASS[:2]) == ([0, 1], [0.9, 0.8])


def test_soft_nms_removes_scores_of_almost_zero():
    twins = BOXES[:1].repeat(2, 1)
    assert select("linear", twins, SCORES[:2], ONE_CLASS[:2]) == ([0], [0.9])  # 0.8 * (1 - 1)
    assert select("gaussian", twins, torch.tensor([0.9, 0.007]), ONE_CLASS[:2]) == ([0], [0.9])  # 0.00095


def test_unknown_method_raises():
    with pytest.raises(InputError, match="unknown method of soft-NMS 'gausian': did you mean 'gaussian'"):
        select("gausian")
