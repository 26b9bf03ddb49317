import numpy as np
import pytest
import torch

from mvit_det.data.scaling import padded_shape, scaled_shape
from mvit_det.runtime.batch import make_batch
from mvit_det.torchvision import build_detector
from mvit_det.torchvision.models.transform import scale_image


@pytest.mark.parametrize(
    ("scaled", "expected"),
    [((800, 1067), (800, 1088)), ((64, 65), (64, 96)), ((1, 33), (32, 64))],
)
def test_sides_are_padded_to_multiples(scaled, expected):
    assert padded_shape(scaled, 32) == expected


def test_a_batch_holds_pillows_pixels_and_zeros():
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (*shape, 3), np.uint8) for shape in ((37, 53), (120, 170), (64, 90))]
    shapes = [scaled_shape(image.shape[:2], 64, 128) for image in images]
    assert shapes == [(64, 92), (64, 91), (64, 90)]
    batch = make_batch(images, shapes, (64, 96))
    assert batch.dtype == np.float32
    for image, (height, width), pixels in zip(images, shapes, batch, strict=True):
        tensor = torch.from_numpy(image).permute(2, 0, 1) / 255
        assert np.array_equal(pixels[:, :height, :width], scale_image(tensor, (height, width)))
        assert not pixels[:, height:].any()
        assert not pixels[:, :, width:].any()


def test_the_normalized_batch_is_that_of_the_torchvision_detector():
    transform = build_detector("mvitv2_nano", 2, min_size=64, max_size=128).transform.eval()
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (*shape, 3), np.uint8) for shape in ((41, 50), (130, 166))]
    expected, _ = transform([torch.from_numpy(image).permute(2, 0, 1) / 255 for image in images])
    batch = torch.from_numpy(make_batch(images, expected.image_sizes, tuple(expected.tensors.shape[2:])))
    for pixels, normalized, (height, width) in zip(
        batch, expected.tensors, expected.image_sizes, strict=True
    ):
        region = (slice(None), slice(height), slice(width))
        assert torch.equal(transform.normalize_pixels(pixels)[region], normalized[region])
