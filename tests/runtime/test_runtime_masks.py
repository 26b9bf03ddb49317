import numpy as np
import torch

from mvit_det.runtime.masks import paste_masks
from mvit_det.torchvision.models import masks as torch_masks


def paste(masks, boxes, shape):
    return paste_masks(np.array(masks, np.float32), np.array(boxes, np.float32), shape, 0.5)


def test_a_pasted_mask_fills_exactly_its_box():
    pasted = paste(np.ones((1, 28, 28)), [[2, 3, 6, 5]], (8, 10))
    expected = np.zeros((1, 8, 10), bool)
    expected[0, 3:5, 2:6] = True
    assert np.array_equal(pasted, expected)


def test_pixels_are_interpolated_between_cells():
    # The probability is 0 at 16 px, 0.8 at 48 px and 0 at 80 px; it is 0.5 at 36 px and at 60 px.
    pasted = paste([[[0, 0.8], [0, 0.8]]], [[0, 0, 64, 64]], (64, 64))
    assert np.flatnonzero(pasted[0, 32]).tolist() == list(range(36, 60))


def test_a_probability_that_equals_the_threshold_belongs_to_the_object():
    assert paste([[[0.5]], [[0.49]]], [[0, 0, 1, 1]] * 2, (1, 1)).tolist() == [[[True]], [[False]]]


def test_no_masks():
    assert paste(np.zeros((0, 28, 28)), np.zeros((0, 4)), (5, 7)).shape == (0, 5, 7)


def test_pasted_masks_equal_those_of_the_torchvision_detector():
    generator = np.random.default_rng(0)
    shape = (211, 307)
    corners = generator.random((2, 200, 2)) * shape[::-1]
    corners[0, :20], corners[1, 10:30] = 0, shape[::-1]  # at the edges of the image
    corners[1, 40:60] = corners[0, 40:60] + 0.3  # within a pixel
    boxes = np.concatenate([corners.min(0), corners.max(0)], axis=1)
    boxes = boxes.clip(0, np.array([307, 211] * 2)).astype(np.float32)
    masks = generator.random((200, 28, 28), np.float32)
    probabilities = torch_masks.paste_masks(torch.from_numpy(masks), torch.from_numpy(boxes), shape).numpy()
    pasted = paste_masks(masks, boxes, shape, 0.5)
    clear = abs(probabilities - 0.5) > 1e-5
    assert clear.mean() > 0.999
    assert np.array_equal(pasted[clear], probabilities[clear] >= 0.5)
