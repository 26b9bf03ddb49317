import pytest
import torch
from torch.nn import functional as F

from mvit_det.torchvision.models.losses import box_losses, region_weights


def test_weights_give_the_mean_over_images():
    weights = region_weights([2, 0, 1], torch.zeros(()))
    torch.testing.assert_close(weights, torch.tensor([1 / 6, 1 / 6, 1 / 3]))
    assert region_weights([0, 0], torch.zeros(())).shape == (0,)


@pytest.mark.parametrize("num_boxes", [1, 2])  # class-agnostic, or one box for each of two classes
def test_box_losses(num_boxes):
    logits = torch.tensor([[0.0, 0, 0], [0, 2, 0], [0, 0, 3]])
    deltas = torch.zeros(3, num_boxes, 4)
    deltas[1, 0] = torch.tensor([0.5, 0, 0, 0])  # of class 1
    deltas[2, -1] = torch.tensor([0, 0, -0.2, 1])  # of class 2
    labels = [torch.tensor([0, 1]), torch.tensor([2])]
    targets = [torch.full((2, 4), 0.0), torch.full((1, 4), 0.1)]
    targets[0][0] = float("inf")  # of the background, unused
    loss_classifier, loss_box_reg = box_losses(logits, deltas.flatten(1), labels, targets)
    errors = F.cross_entropy(logits, torch.cat(labels), reduction="none")
    torch.testing.assert_close(loss_classifier, ((errors[0] + errors[1]) / 2 + errors[2]) / 2)
    # The first image has a mean of 0.5 / 2, the second has 0.1 + 0.1 + 0.3 + 0.9.
    torch.testing.assert_close(loss_box_reg, torch.tensor((0.25 + 1.4) / 2))


def test_box_losses_without_regions():
    logits, deltas = torch.zeros(0, 3, requires_grad=True), torch.zeros(0, 8, requires_grad=True)
    labels, targets = [torch.zeros(0, dtype=torch.int64)], [torch.zeros(0, 4)]
    losses = box_losses(logits, deltas, labels, targets)
    assert [loss.item() for loss in losses] == [0, 0]
    sum(losses).backward()
    assert logits.grad is not None
    assert deltas.grad is not None
