import torch
from torch.nn import functional as F

from mvit_det.torchvision.models.masks import crop_masks, mask_loss, paste_masks


def test_a_pasted_mask_fills_exactly_its_box():
    pasted = paste_masks(torch.ones(1, 28, 28), torch.tensor([[2.0, 3, 6, 5]]), (8, 10))
    assert pasted.shape == (1, 8, 10)
    inside = torch.zeros(8, 10, dtype=torch.bool)
    inside[3:5, 2:6] = True
    assert torch.equal(pasted[0] > 0, inside)
    torch.testing.assert_close(pasted[0][inside], torch.ones(8))


def test_masks_are_sampled_at_the_centers_of_pixels():
    mask = torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])
    # Cells are 2 px wide, with centers at 1 and 3, so half a pixel is a quarter of the distance.
    pasted = paste_masks(mask, torch.tensor([[0.0, 0, 4, 4]]), (4, 4))
    torch.testing.assert_close(pasted[0, 1], torch.tensor([0.0, 0.25, 0.75, 0.75]))
    # Above the centers of the first row of cells, values are interpolated with 0.
    torch.testing.assert_close(pasted[0, 0], torch.tensor([0.0, 0.25, 0.75, 0.75]) * 0.75)


def test_a_box_between_pixels():
    mask = torch.ones(2, 1, 1)
    boxes = torch.tensor([[0.5, 0.0, 2.5, 1.0], [1.75, 0.0, 2.0, 1.0]])
    pasted = paste_masks(mask, boxes, (1, 4))[:, 0]
    # The only cell has its center at 1.5, half a cell away from the centers of pixels 0 and 2.
    torch.testing.assert_close(pasted[0], torch.tensor([0.5, 1.0, 0.5, 0.0]))
    # The center of pixel 1 is one and a half cells away from a box that is a quarter of a pixel wide.
    torch.testing.assert_close(pasted[1], torch.zeros(4))


def test_no_masks():
    assert paste_masks(torch.zeros(0, 28, 28), torch.zeros(0, 4), (5, 7)).shape == (0, 5, 7)
    cropped = crop_masks(torch.zeros(0, 5, 7), torch.zeros(0, 4), torch.zeros(0).long(), 28)
    assert cropped.shape == (0, 28, 28)


def test_a_cell_belongs_to_an_object_that_covers_half_of_it():
    masks = torch.zeros(2, 8, 8, dtype=torch.uint8)
    masks[1, :, 3:] = 1
    boxes = torch.tensor([[0.0, 0, 8, 8], [1, 0, 5, 4]])
    cropped = crop_masks(masks, boxes, torch.tensor([1, 1]), 4)
    assert cropped.tolist() == [[[0, 1, 1, 1]] * 4, [[0, 0, 1, 1]] * 4]  # half of the cell from 2 to 4 px
    assert crop_masks(masks, boxes[:1], torch.tensor([0]), 4).sum() == 0


def test_mask_loss_counts_only_the_mask_of_the_object_class():
    logits = torch.zeros(1, 2, 28, 28, requires_grad=True)
    target = {"labels": torch.tensor([2]), "masks": torch.ones(1, 64, 64, dtype=torch.uint8)}
    boxes, index = [torch.tensor([[10.0, 10, 40, 40]])], [torch.tensor([0])]
    loss = mask_loss(logits, boxes, index, [target], [(64, 64)])
    torch.testing.assert_close(loss, F.softplus(torch.tensor(0.0)))  # -log(1 / 2)
    loss.backward()
    assert (logits.grad[0, 0] == 0).all()
    assert (logits.grad[0, 1] < 0).all()


def test_mask_loss_is_a_mean_over_images():
    logits = torch.tensor([1.0, 2.0, 3.0])[:, None, None, None].expand(3, 1, 2, 2)
    target = {"labels": torch.tensor([1]), "masks": torch.ones(1, 8, 8, dtype=torch.uint8)}
    boxes = [torch.tensor([[0.0, 0, 8, 8]] * 2), torch.zeros(0, 4), torch.tensor([[0.0, 0, 8, 8]])]
    index = [torch.zeros(len(b), dtype=torch.int64) for b in boxes]
    loss = mask_loss(logits, boxes, index, [target] * 3, [(8, 8)] * 3)
    first, second, third = F.softplus(-torch.tensor([1.0, 2.0, 3.0]))
    torch.testing.assert_close(loss, ((first + second) / 2 + 0 + third) / 3)


def test_masks_may_have_another_resolution_than_the_image():
    masks = torch.zeros(1, 8, 16, dtype=torch.uint8)
    masks[0, :, :4] = 1  # the left quarter
    target = {"labels": torch.tensor([1]), "masks": masks}
    box, index = torch.tensor([[0.0, 0, 16, 4]]), torch.tensor([0])  # the left half of an image of 32 x 4 px
    logits = torch.tensor([[5.0, -5.0], [5.0, -5.0]])[None, None]
    loss = mask_loss(logits, [box], [index], [target], [(4, 32)])
    torch.testing.assert_close(loss, F.softplus(torch.tensor(-5.0)))
