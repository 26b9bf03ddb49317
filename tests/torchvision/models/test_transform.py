import numpy as np
import pytest
import torch
from PIL import Image

from mvit_det.torchvision import build_detector
from mvit_det.torchvision.models.transform import scale_image


@pytest.fixture
def transform():
    return build_detector("mvitv2_nano", 2, min_size=64, max_size=128).transform.eval()


def test_scaling_equals_that_of_pillow():
    pixels = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    image = torch.from_numpy(pixels).permute(2, 0, 1) / 255
    for shape in ((37, 53), (20, 31), (90, 131)):
        expected = np.array(Image.fromarray(pixels).resize(shape[::-1], Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(scale_image(image, shape).permute(1, 2, 0), expected)


def test_downscaling_averages_pixels():
    stripes = torch.zeros(3, 256, 256)
    stripes[:, :, ::4] = 1  # sampling every fourth pixel would give 0 or 1 everywhere
    scaled = scale_image(stripes, (64, 64))
    torch.testing.assert_close(scaled[:, 8:-8, 8:-8], torch.full((3, 48, 48), 64.0), atol=13, rtol=0)


def test_a_batch_is_normalized_and_padded_with_zeros(transform):
    gray = torch.full((3, 64, 64), 128 / 255)
    images, _ = transform([gray, gray[:, :, :50]])
    assert images.tensors.shape == (2, 3, 96, 64)
    assert images.image_sizes == [(64, 64), (82, 64)]
    assert [transform.padded_shape(shape) for shape in ((64, 64), (64, 50))] == [(64, 64), (96, 64)]
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # for 0..255
    expected = torch.tensor([(128 - m) / s for m, s in zip(mean, std, strict=True)])
    torch.testing.assert_close(images.tensors[1, :, 81, 63], expected)
    assert (images.tensors[0, :, :64] != 0).all()
    assert (images.tensors[0, :, 64:] == 0).all()


def test_tensors_that_are_not_images_are_refused(transform):
    for image in (torch.zeros(64, 64), torch.zeros(1, 64, 64), torch.zeros(3, 64, 64, dtype=torch.uint8)):
        with pytest.raises(ValueError, match=r"must be float \(3, H, W\) in 0..1"):
            transform([image])


@pytest.mark.parametrize("has_masks", [True, False], ids=["masks", "boxes"])
def test_predictions_return_to_the_original_size_without_empty_boxes(transform, has_masks):
    detections = {
        "boxes": torch.tensor([[10.0, 20, 30, 40], [64, 0, 70, 10], [5, 5, 5, 9]]),
        "labels": torch.tensor([1, 2, 3]),
        "scores": torch.tensor([0.9, 0.8, 0.7]),
    }
    if has_masks:
        detections["masks"] = torch.ones(3, 1, 28, 28)
    (result,) = transform.postprocess([detections], [(64, 64)], [(32, 128)])
    assert result.keys() == detections.keys()
    assert result["boxes"].tolist() == [[20, 10, 60, 20]]
    assert result["labels"].tolist() == [1]
    assert result["scores"].tolist() == [pytest.approx(0.9)]
    if has_masks:
        assert result["masks"].shape == (1, 1, 32, 128)
        assert result["masks"].sum() > 0.9 * 40 * 10
        assert (result["masks"][0, 0, 10:20, 20:60] > 0).all()


def test_masks_are_bool_with_a_threshold(transform):
    detections = {"boxes": torch.tensor([[0.0, 0, 64, 64]]), "masks": torch.zeros(1, 1, 2, 2)}
    detections["masks"][..., 1] = 0.8  # the right half
    transform.mask_threshold = 0.5
    (result,) = transform.postprocess([detections], [(64, 64)], [(64, 64)])
    assert result["masks"].dtype == torch.bool
    # The probability is 0 at 16 px, 0.8 at 48 px and 0 at 80 px; it is 0.5 at 36 px and at 60 px.
    assert torch.where(result["masks"][0, 0, 32])[0].tolist() == list(range(36, 60))
