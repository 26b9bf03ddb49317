import math

import pytest
import torch

from mvit_det.export.exportable_detector import ExportableDetector
from mvit_det.heads import HEADS
from tests.export.detectors import (
    SHAPE,
    SIZES,
    assert_same_detections,
    plain_detections,
    random_detector,
    random_images,
)


@torch.inference_mode()
def detect(detector, images, image_sizes, **options):
    return ExportableDetector(detector, **options)(images, image_sizes)


@pytest.mark.parametrize("head", HEADS)
def test_detections_are_those_of_the_plain_detector(head):
    detector = random_detector(head)
    images, sizes = random_images(SIZES, SHAPE)
    expected = plain_detections(detector, images, sizes)
    assert all(len(image["boxes"]) > 10 for image in expected)
    assert_same_detections(detect(detector, images, sizes), expected, atol=1e-4)
    alone = detect(detector, images[1:2], sizes[1:2])
    assert_same_detections(alone, expected[1:2], atol=1e-2)  # another batch is rounded differently


def test_results_have_a_fixed_shape():
    detector = random_detector("mask_rcnn")
    images, sizes = random_images(SIZES, SHAPE)
    model = ExportableDetector(detector, min_score=0.99999, max_detections=7)
    with torch.inference_mode():
        empty = model(images, sizes)
    assert tuple(empty) == model.output_names
    assert {name: (values.dtype, *values.shape) for name, values in empty.items()} == {
        "boxes": (torch.float32, 3, 7, 4),
        "scores": (torch.float32, 3, 7),
        "labels": (torch.int64, 3, 7),
        "masks": (torch.float32, 3, 7, 28, 28),
        "num_detections": (torch.int64, 3),
    }
    assert not any(values.any() for values in empty.values())
    detector.roi_heads.detections_per_img = 7
    expected = plain_detections(detector, images, sizes)
    assert_same_detections(detect(detector, images, sizes, max_detections=7), expected, atol=1e-4)


def test_what_is_in_the_padding_does_not_count():
    detector = random_detector("faster_rcnn")
    images, sizes = random_images([(90, 100)], SHAPE)
    expected = detect(detector, images, sizes)
    images[:, :, 90:] = 200
    images[:, :, :, 100:] = 100
    detections = detect(detector, images, sizes)
    assert all(torch.equal(detections[name], expected[name]) for name in expected)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_images_without_valid_proposals_have_no_detections(value):
    detector = random_detector("cascade_mask_rcnn")
    detector.rpn.head.bbox_pred.bias.data.fill_(value)
    images, sizes = random_images(SIZES[:1], SHAPE)
    assert plain_detections(detector, images, sizes)[0]["boxes"].shape == (0, 4)
    assert not any(values.any() for values in detect(detector, images, sizes).values())
