"""Images are resized to the length of their short side."""

import numpy as np
import pytest

from mvit_det.detectron2.data.resize import ResizeShortestEdge


@pytest.mark.parametrize(
    ("shape", "resized"),
    [((2, 3000), (1, 427)), ((3000, 2), (427, 1)), ((1, 5), (85, 427)), ((100, 150), (256, 384))],
)
def test_no_side_is_less_than_a_pixel(shape, resized):
    image = np.full((*shape, 3), 7, np.uint8)
    transform = ResizeShortestEdge(256, 427).get_transform(image)
    assert transform.apply_image(image).shape == (*resized, 3)
