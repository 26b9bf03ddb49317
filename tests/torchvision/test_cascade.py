import torch
from torchvision.models.detection._utils import Matcher

from mvit_det.torchvision import build_detector
from mvit_det.torchvision.cascade import _match


def cascade_heads():
    torch.manual_seed(0)
    return build_detector("mvitv2_nano", 3, cascade=True).roi_heads


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


def test_stages_have_the_published_weights_and_thresholds():
    heads = cascade_heads()
    assert [coder.weights for coder in heads.box_coders] == [
        (10, 10, 5, 5),
        (20, 20, 10, 10),
        (30, 30, 15, 15),
    ]
    assert [matcher.high_threshold for matcher in heads.matchers] == [0.5, 0.6, 0.7]


def test_a_stage_moves_boxes_by_its_own_weights_and_inside_the_picture():
    heads = cascade_heads()
    boxes = [torch.tensor([[10.0, 10, 30, 30]])]
    deltas = torch.tensor([[2.0, 0, 0, 0]])
    # dx = 2 / 10 and 2 / 20 of a width of 20
    assert heads._refine(0, deltas, boxes, [(50, 50)])[0].tolist() == [[14, 10, 34, 30]]
    assert heads._refine(1, deltas, boxes, [(50, 50)])[0].tolist() == [[12, 10, 32, 30]]
    assert heads._refine(0, deltas, boxes, [(50, 32)])[0].tolist() == [[14, 10, 32, 30]]


def test_scores_are_averaged_over_the_stages():
    heads = cascade_heads().eval()
    heads.score_thresh = 0.0
    logits = [torch.tensor([[0.0, 2.0, -1.0]]), torch.tensor([[1.0, 0.0, 3.0]]), torch.zeros(1, 3)]
    features = {f"p{level}": torch.zeros(1, 64, 64 >> level, 64 >> level) for level in (2, 3, 4, 5)}
    stages = []

    def predict(stage, *arguments):
        stages.append(stage)
        return logits[stage], torch.zeros(1, 4)

    heads._predict = predict
    prediction = heads._predictions(features, [torch.tensor([[5.0, 5, 40, 40]])], [(64, 64)])[0]
    assert stages == [0, 1, 2]
    mean = torch.stack([logit.softmax(-1) for logit in logits]).mean(0)[0, 1:]
    order = mean.argsort(descending=True)
    torch.testing.assert_close(prediction["scores"], mean[order])
    assert prediction["labels"].tolist() == (order + 1).tolist()


def test_three_heads_pull_at_the_features_as_one_does():
    heads = cascade_heads().train()
    features = {
        f"p{level}": torch.randn(1, 64, 64 >> level, 64 >> level, requires_grad=True)
        for level in (2, 3, 4, 5)
    }
    boxes = [torch.tensor([[5.0, 5, 40, 40], [8, 3, 50, 44]])]
    heads._predict(0, features, boxes, [(64, 64)])[0].sum().backward()
    scaled = features["p2"].grad.clone()
    features["p2"].grad = None
    pooled = heads.box_roi_pool(features, boxes, [(64, 64)])
    heads.box_predictor[0](heads.box_head[0](pooled))[0].sum().backward()
    torch.testing.assert_close(3 * scaled, features["p2"].grad)
