import torch

from mvit_det.torchvision.models.masks import crop_masks, paste_masks


def test_a_pasted_mask_fills_its_box_and_nothing_else():
    pasted = paste_masks(torch.ones(1, 28, 28), torch.tensor([[2.0, 3, 6, 5]]), (8, 10))
    assert pasted.shape == (1, 8, 10)
    inside = torch.zeros(8, 10, dtype=torch.bool)
    inside[3:5, 2:6] = True
    assert torch.equal(pasted[0] > 0, inside)
    torch.testing.assert_close(pasted[0][inside], torch.ones(8))


def test_values_are_taken_at_the_centres_of_pixels():
    mask = torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])
    # Cells 2 px wide, with their centres at 1 and 3: half a pixel is a quarter of the way.
    pasted = paste_masks(mask, torch.tensor([[0.0, 0, 4, 4]]), (4, 4))
    torch.testing.assert_close(pasted[0, 1], torch.tensor([0.0, 0.25, 0.75, 0.75]))
    # Above the first cells' centres there is nothing to interpolate with but 0.
    torch.testing.assert_close(pasted[0, 0], torch.tensor([0.0, 0.25, 0.75, 0.75]) * 0.75)


def test_a_box_between_pixels():
    mask = torch.ones(2, 1, 1)
    boxes = torch.tensor([[0.5, 0.0, 2.5, 1.0], [1.75, 0.0, 2.0, 1.0]])
    pasted = paste_masks(mask, boxes, (1, 4))[:, 0]
    # One cell with its centre at 1.5: the centres of the pixels 0 and 2 are half a cell away.
    torch.testing.assert_close(pasted[0], torch.tensor([0.5, 1.0, 0.5, 0.0]))
    # The centre of pixel 1 lies one and a half cells off a box that is a quarter of a pixel wide.
    torch.testing.assert_close(pasted[1], torch.zeros(4))


def test_no_masks():
    assert paste_masks(torch.zeros(0, 28, 28), torch.zeros(0, 4), (5, 7)).shape == (0, 5, 7)
    cropped = crop_masks(torch.zeros(0, 5, 7), torch.zeros(0, 4), torch.zeros(0).long(), 28)
    assert cropped.shape == (0, 28, 28)


def test_a_cell_is_of_the_object_where_half_of_it_is():
    masks = torch.zeros(2, 8, 8, dtype=torch.uint8)
    masks[1, :, 3:] = 1
    boxes = torch.tensor([[0.0, 0, 8, 8], [1, 0, 5, 4]])
    cropped = crop_masks(masks, boxes, torch.tensor([1, 1]), 4)
    assert cropped.tolist() == [[[0, 1, 1, 1]] * 4, [[0, 0, 1, 1]] * 4]  # of the cell 2 to 4 px: half
    assert crop_masks(masks, boxes[:1], torch.tensor([0]), 4).sum() == 0
