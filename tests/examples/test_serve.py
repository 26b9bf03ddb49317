"""The HTTP service of ``examples/serve``."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from mvit_det.runtime import Detector
from tests.runtime.exports import write_export

pytest.importorskip("fastapi", reason="needs fastapi: pip install 'mvit_det[dev]'")
pytest.importorskip("uvicorn", reason="needs uvicorn: pip install 'mvit_det[dev]'")
pytest.importorskip("httpx", reason="needs httpx: pip install 'mvit_det[dev]'")

from fastapi.testclient import TestClient

from examples.serve import app as serve


@pytest.fixture
def client(exported):
    with TestClient(serve.create_app(Detector(exported, num_threads=1), max_batch=4)) as client:
        yield client


def gray(value, width=60, height=40):
    return np.full((height, width, 3), value, np.uint8)


def encode(pixels, format_="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format_, **options)
    return file.getvalue()


def detect(client, body, **parameters):
    response = client.post("/detect", content=body, params=parameters)
    assert response.status_code == 200, response.text
    return response.json()


def test_the_health_check_describes_the_detector(client):
    health = client.get("/health").json()
    assert health["status"] == "ready"
    assert health["detector"]["head"] == "mask_rcnn"
    assert health["detector"]["format"] == "onnx"
    assert health["detector"]["classes"] == [{"id": 7, "name": "nut"}, {"id": 3, "name": "bolt"}]


def test_the_answer_has_the_detections_of_an_image(client):
    answer = detect(client, encode(gray(255)))
    assert answer.pop("seconds") > 0
    assert answer == {
        "width": 60,
        "height": 40,
        "detections": [
            {"class_id": 3, "class_name": "bolt", "score": 1, "box": [15, 10, 45, 30]},
            {"class_id": 7, "class_name": "nut", "score": 0.75, "box": [0, 0, 60, 20]},
        ],
    }


def test_detections_have_scores_above_the_threshold(client):
    def scores(**parameters):
        return [item["score"] for item in detect(client, encode(gray(255)), **parameters)["detections"]]

    assert scores(min_score=0.75) == [1]
    assert scores(min_score=0.4) == [1, 0.75, 0.5]
    assert scores() == [1, 0.75]  # the detector's default, 0.5


def test_detections_that_another_request_of_the_batch_asked_for_are_left_out(exported):
    detections = Detector(exported, min_score=0.4)(gray(255))
    assert detections.confidence.tolist() == [1, 0.75, 0.5]
    assert [item["score"] for item in serve.to_objects(detections, 0.75, False)] == [1]


def test_masks_are_run_lengths(client, exported):
    objects = detect(client, encode(gray(255)), masks=True)["detections"]
    masks = Detector(exported)(gray(255)).mask
    assert len(masks) == len(objects) == 2
    for item, mask in zip(objects, masks, strict=True):
        assert item["mask"]["size"] == [40, 60]
        rle = coco_mask.frPyObjects(item["mask"], 40, 60)
        assert np.array_equal(coco_mask.decode(rle), mask)


@pytest.mark.parametrize(
    ("mask", "counts"),
    [([[1, 0], [1, 1]], [0, 2, 1, 1]), ([[0, 1], [0, 0]], [2, 1, 1]), ([[0, 0]], [2]), ([[1, 1]], [0, 2])],
)
def test_the_first_run_is_outside_of_the_mask(mask, counts):
    mask = np.array(mask, bool)
    assert serve.to_rle(mask) == {"size": list(mask.shape), "counts": counts}


def test_images_are_turned_upright(client):
    exif = Image.Exif()
    exif[0x0112] = 6
    answer = detect(client, encode(gray(255), "JPEG", exif=exif.tobytes()))
    assert (answer["width"], answer["height"]) == (40, 60)


def test_concurrent_requests_have_the_answers_of_single_ones(client, exported):
    images = [gray(value, width) for value in (120, 180, 255) for width in (50, 60, 110)]
    with ThreadPoolExecutor(len(images)) as pool:
        answers = list(pool.map(lambda image: detect(client, encode(image), min_score=0.1), images))
    detector = Detector(exported, min_score=0.1)
    for image, answer in zip(images, answers, strict=True):
        detections = detector(image)
        assert [item["score"] for item in answer["detections"]] == detections.confidence.tolist()
        assert [item["box"] for item in answer["detections"]] == detections.xyxy.tolist()


def refused(client, body, **parameters):
    response = client.post("/detect", content=body, params=parameters)
    assert response.headers["content-type"] == "application/json"
    (detail,) = response.json().values()
    assert "\n" not in detail
    return response.status_code, detail


@pytest.mark.parametrize("body", [b"", b"garbage", encode(gray(0), "EPS")], ids=["empty", "text", "EPS"])
def test_a_body_that_is_no_image_is_refused(client, body):
    expected = "the body is not an image file; expected BMP, GIF, JPEG, PNG, TIFF, WEBP"
    assert refused(client, body) == (415, expected)


def test_a_truncated_image_is_refused(client):
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    status, detail = refused(client, encode(noise, "JPEG")[:-200])
    assert status == 400
    assert detail.startswith("the image cannot be read: image file is truncated")


def test_an_image_or_an_upload_that_is_too_large_is_refused(client, monkeypatch):
    bomb = encode(np.zeros((10_000, 20_000), bool))  # which Pillow refuses to open
    assert len(bomb) < 100_000
    monkeypatch.setattr(serve, "MAX_PIXELS", 2399)
    for body in (bomb, encode(gray(255))):
        assert refused(client, body) == (413, "the image is too large: expected at most 2,399 px")
    monkeypatch.setattr(serve, "MAX_PIXELS", 2400)
    body = encode(gray(255))
    monkeypatch.setattr(serve, "MAX_BYTES", len(body))
    detect(client, body)
    monkeypatch.setattr(serve, "MAX_BYTES", len(body) - 1)
    expected = f"the upload is too large: expected at most {len(body) - 1:,} bytes"
    assert refused(client, body) == (413, expected)


def test_parameters_that_are_not_valid_are_refused(client, tmp_path):
    body = encode(gray(255))
    status, detail = refused(client, body, min_score=0.01, masks="maybe")
    assert status == 422
    assert detail.startswith(
        "min_score '0.01': Input should be greater than or equal to 0.05; masks 'maybe': "
    )
    for value in ("nan", 1.1):
        assert refused(client, body, min_score=value)[0] == 422
    without_masks = Detector(write_export(tmp_path / "boxes", has_masks=False))
    with TestClient(serve.create_app(without_masks)) as other:
        assert refused(other, body, masks=True) == (422, "masks: this detector has none")
        assert len(detect(other, body)["detections"]) == 2


def test_too_many_requests_are_refused(exported, monkeypatch):
    monkeypatch.setattr(serve, "MAX_REQUESTS", 0)
    with TestClient(serve.create_app(Detector(exported))) as client:
        assert refused(client, encode(gray(255))) == (503, "0 requests are in progress")
