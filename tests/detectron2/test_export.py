"""A checkpoint of Detectron2, exported to ONNX, detects what the model in Detectron2 detects."""

import pytest
import torch
from PIL import Image

from mvit_det.export import export_detector
from mvit_det.runtime import Detector
from mvit_det.weights import to_detectron2
from tests.detectron2.test_integrations_agree import (
    LONG_SIDE,
    SHORT_SIDE,
    build_in_detectron2,
    build_in_torchvision,
    detect_with_detectron2,
    num_matches,
    sample_images,
    with_varied_scores,
)


@pytest.mark.slow
def test_an_export_detects_what_the_model_in_detectron2_detects(tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    model = build_in_detectron2("mask_rcnn")
    varied = with_varied_scores(build_in_torchvision("mask_rcnn").state_dict())
    model.load_state_dict(to_detectron2(varied))
    categories = {1: "bolt", 5: "nut", 9: "washer"}
    config = {"categories": categories, "short_side": SHORT_SIDE, "long_side": LONG_SIDE}
    path = tmp_path / "model_best.pth"
    torch.save({"model": model.state_dict(), "mvit_det": config}, path)
    Image.fromarray(sample_images()[0]).save(tmp_path / "image.png")

    assert export_detector(path, "onnx", tmp_path / "exported", images=tmp_path / "image.png").passed
    exported = Detector(tmp_path / "exported", min_score=0.05, num_threads=1)
    total = num_matched = 0
    for image in sample_images():
        expected, detections = detect_with_detectron2(model, image), exported(image)
        found = {
            "boxes": torch.from_numpy(detections.xyxy),
            "labels": 1 + torch.tensor([list(categories).index(id_) for id_ in detections.class_id]),
            "scores": torch.from_numpy(detections.confidence),
            "masks": torch.from_numpy(detections.mask),
        }
        total += max(len(expected["boxes"]), len(detections))
        num_matched += num_matches(expected, found)
    assert total > 100
    assert num_matched >= 0.995 * total
