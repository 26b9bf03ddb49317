import pytest
import torch
from torch.nn import functional as F
from torchvision.models.detection._utils import Matcher

from mvit_det.torchvision import build_detector
from mvit_det.torchvision.models.roi_heads import _match, _with_background


@pytest.fixture
def heads():
    torch.manual_seed(0)
    return build_detector("mvitv2_nano", 3).roi_heads


def features():
    return {f"p{level}": torch.randn(1, 64, 64 >> level, 64 >> level) for level in (2, 3, 4, 5)}


def test_a_stage_labels_by_its_own_threshold():
    target = {"boxes": torch.tensor([[0.0, 0, 10, 10]]), "labels": torch.tensor([2])}
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 6.5], [0, 0, 10, 5.5], [20, 20, 30, 30]])
    for iou, expected in ((0.5, [2, 2, 2, 0]), (0.6, [2, 2, 0, 0]), (0.7, [2, 0, 0, 0])):
        labels, matched = _match(Matcher(iou, iou), [boxes], [target])
        assert labels[0].tolist() == expected
        assert matched[0][0].tolist() == [0, 0, 10, 10]


def test_without_objects_every_box_is_background():
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    boxes = torch.tensor([[0.0, 0, 10, 10]])
    labels, matched = _match(Matcher(0.5, 0.5), [boxes], [none])
    assert labels[0].tolist() == [0]
    assert matched[0].shape == (1, 4)


def test_a_loss_finds_the_deltas_of_a_class_behind_those_of_the_background():
    of_each = torch.arange(8.0)[None]
    assert _with_background(of_each, 3).tolist() == [[0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7]]
    of_all = torch.arange(4.0)[None]
    assert _with_background(of_all, 3).tolist() == [[0, 1, 2, 3] * 3]


def test_a_box_is_of_its_class_and_the_background_has_none(heads):
    heads.score_thresh = 0.3
    boxes = torch.tensor([[[0.0, 0, 9, 9], [20, 20, 30, 60]], [[5, 5, 8, 8], [1, 1, 2, 2]]])
    scores = torch.tensor([[0.1, 0.4, 0.5], [0.9, 0.05, 0.05]])
    found = heads._select(boxes, scores, (50, 40))
    assert found["boxes"].tolist() == [[20, 20, 30, 50], [0, 0, 9, 9]]  # cut at a height of 50
    assert found["labels"].tolist() == [2, 1]
    assert found["scores"].tolist() == pytest.approx([0.5, 0.4])


def test_of_boxes_that_overlap_the_best_of_a_class_stays(heads):
    heads.score_thresh = 0.1
    boxes = torch.tensor([[[0.0, 0, 10, 10]], [[0, 0, 10, 9]], [[0, 0, 10, 4]]])  # one for all classes
    scores = torch.tensor([[0, 0.8, 0.2], [0, 0.7, 0.3], [0, 0.6, 0]])
    found = heads._select(boxes, scores, (50, 50))
    labels_and_scores = list(zip(found["labels"].tolist(), found["scores"].tolist(), strict=True))
    assert labels_and_scores == [(1, pytest.approx(0.8)), (1, pytest.approx(0.6)), (2, pytest.approx(0.3))]


def test_what_is_not_finite_is_no_object(heads):
    boxes = torch.tensor([[[0.0, 0, 9, 9]], [[0, 0, float("inf"), 9]], [[0, 0, 9, 9]]])
    scores = torch.tensor([[0.1, 0.9, 0], [0.1, 0.9, 0], [0.1, float("nan"), 0]])
    assert heads._select(boxes, scores, (50, 50))["boxes"].tolist() == [[0, 0, 9, 9]]


def test_a_mask_is_of_its_class(heads):
    heads.eval()
    heads._predict = lambda *arguments: (torch.tensor([[0.0, 5, 0], [0, 0, 6]]), torch.zeros(2, 8))
    heads.mask_predictor.forward = lambda x: torch.tensor([-1.0, 2.0])[:, None, None].expand(2, 2, 28, 28)
    boxes = torch.tensor([[0.0, 0, 20, 20], [30, 30, 60, 60]])
    found = heads._predictions(features(), [boxes], [(64, 64)])[0]
    assert found["labels"].tolist() == [2, 1]
    expected = torch.sigmoid(torch.tensor([2.0, -1.0]))
    torch.testing.assert_close(found["masks"][:, 0, 5, 5], expected)


def test_the_mask_loss_is_of_the_class_alone(heads):
    logits = torch.zeros(1, 2, 28, 28, requires_grad=True)
    heads.mask_predictor.forward = lambda x: logits
    target = {"labels": torch.tensor([2]), "masks": torch.ones(1, 64, 64, dtype=torch.uint8)}
    boxes, index = torch.tensor([[10.0, 10, 40, 40]]), torch.tensor([0])
    loss = heads._mask_loss(features(), [boxes], [index], [(64, 64)], [target])
    torch.testing.assert_close(loss, F.softplus(torch.tensor(0.0)))  # -log(1 / 2)
    loss.backward()
    assert (logits.grad[0, 0] == 0).all()
    assert (logits.grad[0, 1] < 0).all()
