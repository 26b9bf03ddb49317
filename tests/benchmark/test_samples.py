"""The images and objects that detectors are measured on."""

import pytest
import torch
from PIL import Image

from mvit_det.benchmark.samples import NUM_OBJECTS, make_samples
from mvit_det.errors import InputError


def test_objects_are_inside_the_image_and_their_masks_fill_their_boxes():
    first, second = make_samples(2, 60, 100)
    assert not torch.equal(first.pixels, second.pixels)
    assert first.pixels.shape == (3, 60, 100)
    masks = first.masks()
    assert masks.shape == (NUM_OBJECTS, 60, 100)
    assert (first.boxes[:, :2] >= 0).all()
    assert (first.boxes[:, 2:] <= torch.tensor([100, 60])).all()
    for mask, (x1, y1, x2, y2) in zip(masks, first.boxes.tolist(), strict=True):
        rows, columns = torch.where(mask > 0)
        assert abs(rows.min() - y1) < 2
        assert abs(rows.max() + 1 - y2) < 2
        assert abs(columns.min() - x1) < 2
        assert abs(columns.max() + 1 - x2) < 2


def test_an_image_file_is_scaled_to_the_size(tmp_path):
    with pytest.raises(InputError, match="missing.png: cannot be read"):
        make_samples(1, 32, 32, tmp_path / "missing.png")
    Image.new("RGB", (8, 8), (10, 20, 30)).save(tmp_path / "a.png")
    (sample,) = make_samples(1, 32, 48, tmp_path / "a.png")
    assert sample.pixels[:, 5, 7].tolist() == [10, 20, 30]
    assert sample.pixels.shape == (3, 32, 48)
