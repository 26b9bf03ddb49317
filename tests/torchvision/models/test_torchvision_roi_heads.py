import pytest
import torch

from mvit_det.torchvision import build_detector

LEVELS = (2, 3, 4, 5)


@pytest.fixture
def heads():
    return build_detector("mvitv2_nano", 3).roi_heads


@pytest.fixture
def cascade():
    return build_detector("mvitv2_nano", 3, "cascade_mask_rcnn").roi_heads


def test_stages_have_the_published_weights_and_thresholds(heads, cascade):
    (stage,) = heads.stages
    assert stage.coder.weights == (10, 10, 5, 5)
    assert stage.matcher.high_threshold == 0.5
    stages = cascade.stages
    assert [stage.coder.weights for stage in stages] == [
        (10, 10, 5, 5),
        (20, 20, 10, 10),
        (30, 30, 15, 15),
    ]
    assert [stage.matcher.high_threshold for stage in stages] == [0.5, 0.6, 0.7]


def test_cascade_averages_scores_over_the_stages_and_takes_boxes_of_the_last(cascade, monkeypatch):
    cascade.eval()
    cascade.score_thresh = 0.0
    logits = [torch.tensor([[0.0, 2.0, -1.0]]), torch.tensor([[1.0, 0.0, 3.0]]), torch.zeros(1, 3)]
    deltas = [torch.tensor([[2.0, 0, 0, 0]]), torch.tensor([[2.0, 0, 0, 0]]), torch.tensor([[3.0, 0, 0, 0]])]
    features = {f"p{level}": torch.zeros(1, 64, 64 >> level, 64 >> level) for level in LEVELS}
    stage_boxes = []

    def predict(stage, features, boxes, image_shapes):
        stage_boxes.append(boxes[0].tolist())
        return logits[len(stage_boxes) - 1], deltas[len(stage_boxes) - 1]

    monkeypatch.setattr(cascade, "_predict_boxes", predict)
    prediction = cascade(features, [torch.tensor([[5.0, 5, 25, 45]])], [(64, 64)])[0][0]
    # right by 2 / 10, 2 / 20 and 3 / 30 of a width of 20
    assert stage_boxes == [[[5, 5, 25, 45]], [[9, 5, 29, 45]], [[11, 5, 31, 45]]]
    assert prediction["boxes"].tolist() == [[13, 5, 33, 45]] * 2
    mean = torch.stack([logit.softmax(-1) for logit in logits]).mean(0)[0, 1:]
    order = mean.argsort(descending=True)
    torch.testing.assert_close(prediction["scores"], mean[order])
    assert prediction["labels"].tolist() == (order + 1).tolist()


def test_cascade_averages_the_gradients_of_the_stages(cascade):
    cascade.train()
    features = {f"p{n}": torch.randn(1, 64, 64 >> n, 64 >> n, requires_grad=True) for n in LEVELS}
    boxes = [torch.tensor([[5.0, 5, 40, 40], [8, 3, 50, 44]])]
    cascade._predict_boxes(cascade.stages[0], features, boxes, [(64, 64)])[0].sum().backward()
    scaled = features["p2"].grad.clone()
    features["p2"].grad = None
    pooled = cascade.box_roi_pool(features, boxes, [(64, 64)])
    cascade.box_predictor[0](cascade.box_head[0](pooled))[0].sum().backward()
    torch.testing.assert_close(3 * scaled, features["p2"].grad)


def test_boxes_are_those_of_the_detected_class(heads):
    heads.score_thresh = 0.3
    boxes = torch.tensor([[[0.0, 0, 9, 9], [20, 20, 30, 60]], [[5, 5, 8, 8], [1, 1, 2, 2]]])
    scores = torch.tensor([[0.1, 0.4, 0.5], [0.9, 0.05, 0.05]])
    detections = heads._select_detections(boxes, scores, (50, 40))
    assert detections["boxes"].tolist() == [[20, 20, 30, 50], [0, 0, 9, 9]]  # clipped at a height of 50
    assert detections["labels"].tolist() == [2, 1]
    assert detections["scores"].tolist() == pytest.approx([0.5, 0.4])


def test_non_maximum_suppression_keeps_the_best_box_of_each_class(heads):
    heads.score_thresh = 0.1
    boxes = torch.tensor([[[0.0, 0, 10, 10]], [[0, 0, 10, 9]], [[0, 0, 10, 4]]])  # class-agnostic
    scores = torch.tensor([[0, 0.8, 0.2], [0, 0.7, 0.3], [0, 0.6, 0]])
    detections = heads._select_detections(boxes, scores, (50, 50))
    assert detections["labels"].tolist() == [1, 1, 2]
    assert detections["scores"].tolist() == pytest.approx([0.8, 0.6, 0.3])


def test_soft_nms_reduces_the_scores_of_overlapping_boxes(heads):
    heads.score_thresh, heads.soft_nms = 0.1, "linear"
    boxes = torch.tensor([[[0.0, 0, 10, 10]], [[0, 0, 10, 8]], [[0, 0, 10, 4]]])  # class-agnostic
    scores = torch.tensor([[0, 0.8, 0.2], [0, 0.7, 0], [0, 0.6, 0]])
    detections = heads._select_detections(boxes, scores, (50, 50))
    # The second box: 0.7 * (1 - 0.8) by the first, whose IoU with it is 0.8, and half of it by the third.
    assert detections["scores"].tolist() == pytest.approx([0.8, 0.6, 0.2, 0.07])
    assert detections["labels"].tolist() == [1, 1, 2, 1]
    assert detections["boxes"][:, 3].tolist() == [10, 4, 10, 8]


def test_detections_with_values_that_are_not_finite_are_removed(heads):
    boxes = torch.tensor([[[0.0, 0, 9, 9]], [[0, 0, float("inf"), 9]], [[0, 0, 9, 9]]])
    scores = torch.tensor([[0.1, 0.9, 0], [0.1, 0.9, 0], [0.1, float("nan"), 0]])
    assert heads._select_detections(boxes, scores, (50, 50))["boxes"].tolist() == [[0, 0, 9, 9]]


def test_masks_are_those_of_the_detected_class(heads, monkeypatch):
    heads.eval()
    logits, deltas = torch.tensor([[0.0, 5, 0], [0, 0, 6]]), torch.zeros(2, 8)
    monkeypatch.setattr(heads, "_predict_boxes", lambda *arguments: (logits, deltas))
    class_masks = torch.tensor([-1.0, 2.0])[:, None, None].expand(2, 2, 28, 28)
    monkeypatch.setattr(heads, "_mask_logits", lambda *arguments: class_masks)
    boxes = torch.tensor([[0.0, 0, 20, 20], [30, 30, 60, 60]])
    prediction = heads({}, [boxes], [(64, 64)])[0][0]
    assert prediction["labels"].tolist() == [2, 1]
    expected = torch.sigmoid(torch.tensor([2.0, -1.0]))
    torch.testing.assert_close(prediction["masks"][:, 0, 5, 5], expected)


def test_boxes_that_a_stage_moves_out_of_the_image_are_not_passed_on_in_training(cascade, monkeypatch):
    cascade.train()
    monkeypatch.setattr(cascade, "mask_roi_pool", None)  # without masks
    monkeypatch.setattr(cascade, "mask_head", None)
    counts = []

    def predict(stage, features, boxes, image_shapes):
        counts.append([len(image_boxes) for image_boxes in boxes])
        deltas = torch.zeros(sum(counts[-1]), 4)
        deltas[0, 0] = 20.0  # right by 20 / 10 of the width in the first stage
        return torch.zeros(len(deltas), 3), deltas

    monkeypatch.setattr(cascade, "_predict_boxes", predict)
    monkeypatch.setattr(
        cascade,
        "select_training_samples",
        lambda proposals, targets: (proposals, None, [torch.tensor([0, 1])], None),
    )
    boxes = [torch.tensor([[0.0, 0, 40, 40], [2, 2, 30, 30]])]
    target = {"boxes": boxes[0][1:], "labels": torch.tensor([1])}
    _, losses = cascade({}, boxes, [(64, 64)], [target])
    assert counts == [[2], [1], [1]]
    assert all(loss.isfinite() for loss in losses.values())
