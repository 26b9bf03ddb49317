import torch
from torchvision.models.detection._utils import BoxCoder, Matcher

from mvit_det.heads import HEADS
from mvit_det.torchvision.models.box_stages import match_boxes, refine_boxes


def test_each_stage_matches_boxes_by_its_own_threshold():
    target = {"boxes": torch.tensor([[0.0, 0, 10, 10]]), "labels": torch.tensor([2])}
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 6.5], [0, 0, 10, 5.5], [20, 20, 30, 30]])
    for iou, expected in ((0.5, [2, 2, 2, 0]), (0.6, [2, 2, 0, 0]), (0.7, [2, 0, 0, 0])):
        labels, matched = match_boxes(Matcher(iou, iou), [boxes], [target])
        assert labels[0].tolist() == expected
        assert matched[0][0].tolist() == [0, 0, 10, 10]


def test_every_box_is_background_if_there_are_no_objects():
    target = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    boxes = torch.tensor([[0.0, 0, 10, 10]])
    labels, matched = match_boxes(Matcher(0.5, 0.5), [boxes], [target])
    assert labels[0].tolist() == [0]
    assert matched[0].shape == (1, 4)


def test_each_stage_refines_boxes_by_its_own_weights_and_clips_them():
    first, second, _ = (BoxCoder(weights) for weights in HEADS["cascade_mask_rcnn"].box_weights)
    boxes = [torch.tensor([[10.0, 10, 30, 30]])]
    deltas = torch.tensor([[2.0, 0, 0, 0]])
    # dx = 2 / 10 and 2 / 20 of a width of 20
    assert refine_boxes(first, deltas, boxes, [(50, 50)])[0].tolist() == [[14, 10, 34, 30]]
    assert refine_boxes(second, deltas, boxes, [(50, 50)])[0].tolist() == [[12, 10, 32, 30]]
    assert refine_boxes(first, deltas, boxes, [(50, 32)])[0].tolist() == [[14, 10, 32, 30]]
