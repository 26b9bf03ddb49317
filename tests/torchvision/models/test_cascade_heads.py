import torch

from mvit_det.torchvision import build_detector
from mvit_det.torchvision.models.roi_heads import _refine


def cascade_heads():
    torch.manual_seed(0)
    return build_detector("mvitv2_nano", 3, cascade=True).roi_heads


def test_stages_have_the_published_weights_and_thresholds():
    stages = cascade_heads().stages
    assert [stage.coder.weights for stage in stages] == [
        (10, 10, 5, 5),
        (20, 20, 10, 10),
        (30, 30, 15, 15),
    ]
    assert [stage.matcher.high_threshold for stage in stages] == [0.5, 0.6, 0.7]


def test_a_stage_moves_boxes_by_its_own_weights_and_inside_the_picture():
    first, second, _ = (stage.coder for stage in cascade_heads().stages)
    boxes = [torch.tensor([[10.0, 10, 30, 30]])]
    deltas = torch.tensor([[2.0, 0, 0, 0]])
    # dx = 2 / 10 and 2 / 20 of a width of 20
    assert _refine(first, deltas, boxes, [(50, 50)])[0].tolist() == [[14, 10, 34, 30]]
    assert _refine(second, deltas, boxes, [(50, 50)])[0].tolist() == [[12, 10, 32, 30]]
    assert _refine(first, deltas, boxes, [(50, 32)])[0].tolist() == [[14, 10, 32, 30]]


def test_scores_are_averaged_over_the_stages_and_boxes_are_of_the_last():
    heads = cascade_heads().eval()
    heads.score_thresh = 0.0
    logits = [torch.tensor([[0.0, 2.0, -1.0]]), torch.tensor([[1.0, 0.0, 3.0]]), torch.zeros(1, 3)]
    deltas = [torch.tensor([[2.0, 0, 0, 0]]), torch.tensor([[2.0, 0, 0, 0]]), torch.tensor([[3.0, 0, 0, 0]])]
    features = {f"p{level}": torch.zeros(1, 64, 64 >> level, 64 >> level) for level in (2, 3, 4, 5)}
    seen = []

    def predict(stage, features, boxes, image_shapes):
        seen.append(boxes[0].tolist())
        return logits[len(seen) - 1], deltas[len(seen) - 1]

    heads._predict = predict
    prediction = heads._predictions(features, [torch.tensor([[5.0, 5, 25, 45]])], [(64, 64)])[0]
    # right by 2 / 10, 2 / 20 and 3 / 30 of a width of 20
    assert seen == [[[5, 5, 25, 45]], [[9, 5, 29, 45]], [[11, 5, 31, 45]]]
    assert prediction["boxes"].tolist() == [[13, 5, 33, 45]] * 2
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
    heads._predict(heads.stages[0], features, boxes, [(64, 64)])[0].sum().backward()
    scaled = features["p2"].grad.clone()
    features["p2"].grad = None
    pooled = heads.box_roi_pool(features, boxes, [(64, 64)])
    heads.box_predictor[0](heads.box_head[0](pooled))[0].sum().backward()
    torch.testing.assert_close(3 * scaled, features["p2"].grad)
