import math

import torch

from mvit_det.export.suppression import select_best, suppress

# IoU with the first box: 1, 0.8, 0.4 and 0. IoU of the second with the third: 0.5.
BOXES = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 4], [20, 0, 30, 10]])
NONE = -math.inf


def test_boxes_are_removed_within_their_group():
    scores = torch.tensor([[0.9, 0.8, -0.7, 0.3], [NONE, 0.8, 0.7, 0.9], [NONE] * 4])
    kept = suppress(BOXES.expand(3, -1, -1), scores, 0.5, 4)
    # IoU of 0.5 is not above the threshold.
    expected = torch.tensor([[0.9, NONE, -0.7, 0.3], [NONE, 0.8, 0.7, 0.9], [NONE] * 4])
    assert torch.equal(kept, expected)
    assert torch.equal(suppress(BOXES[None], scores[1:2], 0.4, 4), torch.tensor([[NONE, 0.8, NONE, 0.9]]))
    assert torch.equal(suppress(BOXES[None], scores[1:2], 0.4, 1), torch.tensor([[NONE, NONE, NONE, 0.9]]))


def test_candidates_alone_need_coordinates():
    boxes = torch.tensor([[[math.nan] * 4, [math.inf] * 4, [0, 0, 1, 1]]])
    scores = torch.tensor([[NONE, NONE, 5.0]])
    assert torch.equal(suppress(boxes, scores, 0.5, 3), scores)


def test_the_best_of_all_groups():
    boxes = torch.stack([BOXES, BOXES + 1])[None]  # (1, 2, 4, 4)
    scores = torch.tensor([[[0.9, 0.8, 0.7, 0.3], [0.1, 0.95, NONE, NONE]]])
    best_boxes, best, index = select_best(boxes, scores, 0.5, 3)
    torch.testing.assert_close(best, torch.tensor([[0.95, 0.9, 0.7]]))
    assert index.tolist() == [[5, 0, 2]]
    assert best_boxes.tolist() == [[[1, 1, 11, 9], [0, 0, 10, 10], [0, 0, 10, 4]]]
    best_boxes, best, _ = select_best(boxes, scores, 0.5, 100)
    assert best[0, 4:].tolist() == [NONE] * 4  # 8 candidates, of which 2 are removed and 2 are none
    assert not best_boxes[0, 4:].any()
