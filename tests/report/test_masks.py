import numpy as np

from mvit_det.report.masks import draw_masks


def test_masks_are_half_transparent_and_small_ones_cover_large_ones():
    image = np.full((40, 60, 3), 100, np.uint8)
    image[:, 30:] = 50
    masks = np.zeros((3, 40, 60), bool)
    masks[0, 10:20, 10:20] = masks[1, 5:30, 5:40] = True  # the third is empty
    drawn = draw_masks(image, iter(masks), [(200, 0, 0), (0, 100, 0), (0, 0, 255)])
    assert (drawn[10:20, 10:20] == [150, 50, 50]).all()
    assert (drawn[20:30, 5:30] == [50, 100, 50]).all()
    assert (drawn[5:30, 30:40] == [25, 75, 25]).all()
    unmasked = ~masks.any(axis=0)
    assert (drawn[unmasked] == image[unmasked]).all()
    assert image.max() == 100  # the input is unchanged
