"""The client of exported detectors."""

import subprocess
import sys

import numpy as np
import pytest
import supervision as sv
import torch
from PIL import ExifTags, Image

from mvit_det.errors import ImageError, InputError
from mvit_det.runtime import Detector
from mvit_det.torchvision import build_detector
from tests.export.plain_format import PlainSession
from tests.runtime.exports import write_export


@pytest.fixture(scope="module")
def detector(exported):
    return Detector(exported, num_threads=1)


def gray(value, height=40, width=60):
    return np.full((height, width, 3), value, np.uint8)


def test_the_detections_of_an_image(detector):
    detections = detector(gray(204))  # scaled from 40 x 60 to 80 x 120 px
    assert len(detections) == 2  # of the others, one has an empty box, one a score of 0.4
    assert detections.xyxy.tolist() == [[15, 10, 45, 30], [0, 0, 60, 20]]
    np.testing.assert_allclose(detections.confidence, [0.8, 0.6], rtol=1e-5)
    assert detections.class_id.tolist() == [3, 7]
    assert detections["class_name"].tolist() == ["bolt", "nut"]
    assert detections.mask.shape == (2, 40, 60)
    # Cells of 15 x 10 px, of which those on the left are 1: the probability falls to 0.5 at 30 px.
    assert np.flatnonzero(detections.mask[0, 20]).tolist() == list(range(15, 30))
    assert detector.categories == {7: "nut", 3: "bolt"}
    assert detector.description.variant == "mvitv2_nano"


def test_images_of_a_list_share_batches_by_their_padded_sizes(exported):
    detector, calls = Detector(exported, num_threads=1), []

    class Recorded:
        def run(self, images, image_sizes):
            calls.append((images.shape, image_sizes.tolist()))
            return detector._session.run(images, image_sizes)

    recorded = Detector(exported, session=Recorded())
    images = [gray(255), gray(204, 80, 110), gray(255, 60, 40), gray(0)]
    together = recorded(images, batch_size=3)
    assert calls == [
        ((2, 3, 96, 128), [[80, 120], [80, 110]]),
        ((1, 3, 128, 96), [[120, 80]]),
        ((1, 3, 96, 128), [[80, 120]]),
    ]
    assert [len(detections) for detections in together] == [2, 2, 2, 0]
    for image, detections in zip(images, together, strict=True):
        alone = detector(image)
        for name in ("xyxy", "mask", "confidence", "class_id"):
            assert np.array_equal(getattr(alone, name), getattr(detections, name)), name
    assert recorded([]) == []


def test_an_image_without_detections(detector):
    detections = detector(gray(0))
    assert len(detections) == 0
    assert detections.xyxy.shape == (0, 4)
    assert detections.mask.shape == (0, 40, 60)
    assert detections["class_name"].tolist() == []


def test_a_detector_without_masks(tmp_path):
    assert Detector(write_export(tmp_path, has_masks=False), num_threads=1)(gray(255)).mask is None


def test_a_model_with_more_classes_than_its_description_is_refused(tmp_path):
    detector = Detector(write_export(tmp_path, classes=[{"id": 7, "name": "nut"}]), num_threads=1)
    with pytest.raises(
        InputError, match=r"detects a class 1, but its detector\.json has the classes 0 to 0;"
    ):
        detector(gray(204))


def test_min_score_selects_detections(exported, tmp_path):
    for min_score, expected in ((0.05, 3), (0.39, 3), (0.41, 2), (1, 0)):
        assert len(Detector(exported, min_score=min_score, num_threads=1)(gray(204))) == expected
    for min_score in (0.01, 1.1, "0.5"):
        message = f"min_score {min_score!r}: must be a number from 0.05, the threshold of the export, to 1"
        with pytest.raises(InputError, match=f"^{message}$"):
            Detector(exported, min_score=min_score)
    assert Detector(write_export(tmp_path, min_score=0.7)).min_score == 0.7


def test_detections_convert_to_those_of_supervision(detector):
    for image in (gray(204), gray(0)):
        converted = sv.Detections(**vars(detector(image)))
        assert len(converted) == len(detector(image))
        assert converted["class_name"].tolist() == detector(image)["class_name"].tolist()


def test_all_kinds_of_images_are_read_alike(detector, tmp_path):
    pixels = np.random.default_rng(0).integers(150, 256, (40, 60), np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # the stored image is turned to the left
    Image.fromarray(np.rot90(pixels)).save(tmp_path / "a.png", exif=exif)
    expected = detector(np.stack([pixels] * 3, axis=2))
    for image in (pixels, tmp_path / "a.png", str(tmp_path / "a.png"), Image.open(tmp_path / "a.png")):
        detections = detector(image)
        assert np.array_equal(detections.confidence, expected.confidence)
        assert detections.mask.shape == (2, 40, 60)


def test_what_is_no_image_is_refused(detector):
    for image, kind, message in (
        (None, TypeError, "image of type NoneType: must be a path, a PIL image or an array"),
        (np.zeros((4, 5)), ValueError, r"array \(4, 5\) float64: must be uint8"),
        (np.zeros((0, 5, 3), np.uint8), ValueError, r"image \(0, 5, 3\): is empty"),
        ("none.png", ImageError, "none.png: no such image"),
    ):
        with pytest.raises(kind, match=f"^{message}"):
            detector(image)
        with pytest.raises(kind, match=rf"^images\[1\]: {message}"):
            detector([gray(0), image])


def test_an_image_that_is_too_large_when_scaled_is_refused(tmp_path):
    detector = Detector(write_export(tmp_path, long_side=200), num_threads=1)
    message = (
        "image of 170 x 80 px: is scaled and padded to 192 x 96 px; the exported model takes at most 128 px"
    )
    with pytest.raises(InputError, match=f"^{message}$"):
        detector(gray(0, 80, 170))
    with pytest.raises(InputError, match=rf"^images\[1\]: {message}$"):
        detector([gray(0), gray(0, 80, 170)])


def test_bad_arguments_are_refused(exported, detector):
    with pytest.raises(InputError, match="unknown device 'gpu': .*expected one of auto, cpu, cuda"):
        Detector(exported, device="gpu")
    with pytest.raises(InputError, match="num_threads 0: must be an integer of at least 1"):
        Detector(exported, num_threads=0)
    for batch_size in (0, 2.5):
        with pytest.raises(InputError, match=f"batch_size {batch_size}: must be an integer of at least 1"):
            detector([gray(0)], batch_size=batch_size)


def test_detections_equal_those_of_the_torchvision_detector(tmp_path):
    torch.manual_seed(3)
    model = build_detector("mvitv2_nano", 3, min_size=96, max_size=160).eval()
    model.transform.mask_threshold = 0.5
    write_export(tmp_path, short_side=96, long_side=160, max_side=2048)
    detector = Detector(tmp_path, min_score=0.3, session=PlainSession(model, 0.3, 20))
    generator = np.random.default_rng(0)
    sizes = ((70, 90), (131, 77), (300, 521), (20, 300))
    images = [generator.integers(0, 256, (*size, 3), np.uint8) for size in sizes]
    for image, detections in zip(images, detector(images, batch_size=1), strict=True):
        with torch.inference_mode():
            (expected,) = model([torch.from_numpy(image).permute(2, 0, 1) / 255])
        assert len(detections) == len(expected["boxes"]) > 5
        assert np.array_equal(detections.xyxy, expected["boxes"])
        assert np.array_equal(detections.confidence, expected["scores"])
        assert detections.class_id.tolist() == [{1: 7, 2: 3}[label] for label in expected["labels"].tolist()]
        assert (detections.mask != expected["masks"][:, 0].numpy()).mean() < 1e-5


def test_the_import_needs_neither_pytorch_nor_the_packages_of_other_parts():
    script = "import sys, mvit_det.runtime; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    modules = {name.partition(".")[0] for name in done.stdout.split()}
    others = {"torch", "torchvision", "cv2", "pycocotools", "supervision", "onnxruntime", "openvino"}
    assert not modules & others
    assert {"numpy", "PIL"} <= modules
