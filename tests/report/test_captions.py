import numpy as np
import pytest

from mvit_det.report.captions import _shortened, draw_captions

COLORS = [(250, 0, 50 + 20 * number) for number in range(9)]  # all with black text


def draw(boxes, text="dog 0.87", height=200, width=300, scale=1.0):
    image = np.full((height, width, 3), 128, np.uint8)
    boxes = np.array(boxes).reshape(-1, 4)
    draw_captions(image, boxes, [text] * len(boxes), COLORS[: len(boxes)], scale, 1)
    return image


def caption(image):
    """Return the pixels of the only caption on an image."""
    rows, columns = np.nonzero((image != 128).any(axis=2))
    return image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def backgrounds(image):
    """Return the number of pixels of each background color on an image."""
    return [(image == color).all(axis=2).sum() for color in COLORS]


def test_a_caption_is_above_the_upper_left_corner_of_its_box():
    rows, columns = np.nonzero((draw([[100, 120, 180, 150]]) != 128).any(axis=2))
    assert rows.max() == 119
    assert columns.min() == 100


@pytest.mark.parametrize("box_wh", [(40, 30), (2, 2), (0, 0)])
@pytest.mark.parametrize("scale", [0.1, 1, 4])
def test_captions_at_the_edges_are_complete(box_wh, scale):
    height, width = 400, 700
    expected = caption(draw([[300, 200, 340, 230]], "dogs 0.87", height, width, scale))
    for x in (0, (width - box_wh[0]) // 2, width - box_wh[0]):
        for y in (0, (height - box_wh[1]) // 2, height - box_wh[1]):
            image = draw([[x, y, x + box_wh[0], y + box_wh[1]]], "dogs 0.87", height, width, scale)
            assert np.array_equal(caption(image), expected)


def test_captions_of_equal_boxes_are_all_drawn_without_overlaps():
    single, *_ = backgrounds(draw([[120, 80, 180, 120]]))
    assert backgrounds(draw([[120, 80, 180, 120]] * 6)) == [single] * 6 + [0] * 3


def test_a_caption_without_a_free_place_is_left_out():
    height, width, _ = caption(draw([[0, 0, 20, 20]])).shape
    single, *_ = backgrounds(draw([[0, 0, 20, 20]]))
    assert backgrounds(draw([[0, 0, 20, 20]] * 9, height=height, width=width)) == [single] + [0] * 8
    assert (
        backgrounds(draw([[0, 0, 9, height]] * 9, height=2 * height, width=width)) == [single] * 2 + [0] * 7
    )


def test_captions_that_are_wider_than_the_image_are_shortened():
    assert 60 < caption(draw([[0, 0, 9, 9]], "traffic light 0.87", 100, 80)).shape[1] <= 80
    assert (draw([[0, 0, 9, 9]], "traffic light 0.87", 32, 32) != 128).any()
    assert (draw([[0, 0, 1, 1]], "traffic light 0.87", 1, 1) == 128).all()  # nothing fits

    def shortened(length):
        return _shortened("traffic light 0.87", lambda text: len(text) <= length)

    assert shortened(18) == "traffic light 0.87"
    assert shortened(17) == "traffic...ht 0.87"
    assert shortened(11) == "traf...0.87"
    assert shortened(10) == "traffic..."  # without a part of the score
    assert shortened(3) == ""


def test_empty_captions_are_not_drawn():
    assert (draw([[100, 100, 150, 150]] * 2, "") == 128).all()
    assert (draw([]) == 128).all()
