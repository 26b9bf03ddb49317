import math

import pytest
import torch
from torchvision.models.detection.image_list import ImageList

from mvit_det.torchvision import build_detector
from mvit_det.torchvision.models.rpn import Anchors


@pytest.fixture
def network():
    return build_detector("mvitv2_nano", 2).rpn.eval()


def test_anchors_are_not_rounded_and_keep_the_stride_of_levels_with_odd_sides():
    images = ImageList(torch.zeros(2, 3, 96, 160), [(96, 160), (90, 100)])
    maps = [torch.zeros(2, 1, -(-96 // s), -(-160 // s)).bfloat16() for s in (4, 8, 16, 32, 64)]
    first, second = Anchors()(images, maps)
    assert first.shape == (3 * (24 * 40 + 12 * 20 + 6 * 10 + 3 * 5 + 2 * 3), 4)
    assert first.dtype == torch.float32
    assert torch.equal(first, second)
    long, short = 16 * math.sqrt(2), 8 * math.sqrt(2)  # half sides for a size of 32 px
    expected = torch.tensor([[-long, -short, long, short], [-16, -16, 16, 16], [-short, -long, short, long]])
    torch.testing.assert_close(first[:3], expected)
    torch.testing.assert_close(first[3:6], expected + torch.tensor([4, 0, 4, 0]))  # along a row
    torch.testing.assert_close(first[3 * 40 : 3 * 40 + 3], expected + torch.tensor([0, 4, 0, 4]))
    torch.testing.assert_close(first[-2], torch.tensor([128.0 - 256, 64 - 256, 128 + 256, 64 + 256]))


def test_proposals_are_the_best_of_each_level(network):
    network._pre_nms_top_n["testing"] = 2
    network._post_nms_top_n["testing"] = 3
    boxes = torch.tensor(
        [[0.0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [0, 0, 10, 10], [60, 0, 70, 10], [80, 0, 90, 10]]
    )
    logits = torch.tensor([90.0, 95, 80, 100, 20, 30])  # the probabilities of the first four are 1 in float32
    proposals, scores = network.filter_proposals(boxes[None], logits[:, None], [(100, 85)], [3, 3])
    # The third box is not among the best two of the first level, nor the fifth of the second. The box that
    # both levels share stays twice, because suppression works within a level.
    assert proposals[0].tolist() == [[0, 0, 10, 10], [20, 0, 30, 10], [0, 0, 10, 10]]
    assert scores[0].tolist() == [100, 95, 90]
    network._post_nms_top_n["testing"] = 10
    proposals, _ = network.filter_proposals(boxes[None], logits[:, None], [(100, 85)], [3, 3])
    assert proposals[0].tolist()[-1] == [80, 0, 85, 10]  # clipped at a width of 85


def test_small_proposals_are_kept_but_not_empty_or_infinite_ones(network):
    boxes = torch.tensor(
        [[5.0, 5, 5.0001, 6], [5, 5, 5, 6], [200, 5, 210, 6], [0, 0, float("inf"), 10], [0, 0, 10, 10]]
    )
    logits = torch.tensor([1.0, 2, 3, 4, float("nan")])
    proposals, scores = network.filter_proposals(boxes[None], logits, [(100, 100)], [5])
    assert scores[0].tolist() == [1]
    assert len(proposals[0]) == 1


def test_losses_are_divided_by_the_number_of_anchors_to_sample(network):
    assert network.fg_bg_sampler.batch_size_per_image == 128  # of the nano recipe
    logits = torch.tensor([[1.0], [-2], [5], [0.5]])
    deltas = torch.tensor([[0.05, 0, 0, 0], [0, 9, 9, 9], [9, 9, 9, 9], [0, 0, 1, -1]])
    labels = [torch.tensor([1.0, 0]), torch.tensor([-1.0, 1])]  # an anchor with -1 does not count
    targets = [torch.zeros(2, 4), torch.zeros(2, 4)]
    loss_objectness, loss_box_reg = network.compute_loss(logits, deltas, labels, targets)
    cross_entropy = sum(math.log1p(math.exp(x)) for x in (-1, -2, -0.5))
    assert loss_objectness.item() == pytest.approx(cross_entropy / (2 * 128), rel=1e-5)
    assert loss_box_reg.item() == pytest.approx((0.05 + 2) / (2 * 128), rel=1e-5)
