"""A checkpoint with the real backbone, its ONNX export, and the client."""

import numpy as np
import pytest
import torch
from PIL import Image

from mvit_det.data.shapes import draw_image
from mvit_det.export import export_detector
from mvit_det.export.agreement import compare_detections
from mvit_det.runtime import Detector as ExportedDetector
from mvit_det.torchvision.inference import Detector
from mvit_det.weights.checkpoint import CONFIG_KEY
from tests.export.detectors import random_detector

CONFIG = {
    "variant": "mvitv2_nano",
    "categories": {3: "bolt", 4: "nut", 7: "washer"},
    "head": "cascade_mask_rcnn",
    "short_side": 96,
    "long_side": 224,
}


@pytest.mark.slow
def test_an_export_detects_what_its_checkpoint_detects(tmp_path):
    detector = random_detector(CONFIG["head"])
    state = {f"detector.{key}": weight for key, weight in detector.state_dict().items()}
    torch.save({CONFIG_KEY: CONFIG, "state_dict": state}, tmp_path / "best.ckpt")
    photo = draw_image(np.random.default_rng(0))[0]  # 224 x 224 px
    Image.fromarray(photo).save(tmp_path / "photo.png")

    check = export_detector(tmp_path / "best.ckpt", "onnx", tmp_path / "out", images=tmp_path / "photo.png")
    assert check.passed, check.failure
    assert check.total.num_checkpoint > 100

    limits = {"min_score": 0.05, "max_detections": 100}
    checkpoint = Detector(tmp_path / "best.ckpt", device="cpu", precision="float32", **limits)
    exported = ExportedDetector(tmp_path / "out", min_score=0.05, num_threads=1)
    # Sizes of which the check has none: a panorama, a portrait, and a small image.
    for image in (photo[100:113], photo[:, 90:187], photo[80:113, 80:127]):
        detections, expected = exported(image), checkpoint(image)
        assert len(detections) > 20
        assert set(detections["class_name"]) <= {"bolt", "nut", "washer"}
        assert detections.mask.shape == (len(detections), *image.shape[:2])
        agreement = compare_detections(expected, detections, **limits)
        assert agreement.share == 1, agreement.unmatched
