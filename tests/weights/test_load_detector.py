"""Loading of the weights of a detector into detectors and backbones."""

import pytest
import torch

from mvit_det import build_mvit
from mvit_det.errors import InputError
from mvit_det.heads import HEADS
from mvit_det.torchvision import build_detector
from mvit_det.weights import load_all_weights, load_weights, read_checkpoint


@pytest.mark.parametrize("head", HEADS)
def test_a_detector_initializes_one_with_other_classes_and_a_backbone(head, detector_weights, tmp_path):
    weights = detector_weights(head, num_classes=3)
    torch.save(weights, tmp_path / "detector.pth")
    detector = build_detector("mvitv2_nano", 5, head)
    report = load_weights(detector, tmp_path / "detector.pth")
    assert report.class_mismatch
    assert all("predictor" in key for key in report.class_mismatch)
    assert not report.shape_mismatch
    assert not report.missing
    assert torch.equal(detector.rpn.head.bbox_pred.weight, weights["rpn.head.bbox_pred.weight"])

    backbone = build_mvit("mvitv2_nano")
    report = load_weights(backbone, tmp_path / "detector.pth")
    assert len(report.loaded) == len(backbone.state_dict())
    assert torch.equal(backbone.scale2_norm.weight, weights["backbone.body.scale2_norm.weight"])


def test_weights_that_do_not_fit_completely_change_nothing(detector_weights, assert_same_weights, tmp_path):
    torch.save(detector_weights("mask_rcnn", num_classes=3), tmp_path / "detector.pth")
    detector = build_detector("mvitv2_nano", 9)
    before = {key: weight.clone() for key, weight in detector.state_dict().items()}
    with pytest.raises(InputError, match="has other classes in roi_heads"):
        load_all_weights(detector, read_checkpoint(tmp_path / "detector.pth"))
    assert_same_weights(detector.state_dict(), before)


def test_values_that_are_not_finite_are_refused(tmp_path):
    weights = build_mvit("mvitv2_nano").state_dict()
    weights["blocks.3.mlp.fc1.bias"][2] = float("nan")
    torch.save(weights, tmp_path / "nan.pth")
    with pytest.raises(InputError, match="nan.pth: blocks.3.mlp.fc1.bias holds values that are not finite"):
        load_weights(build_mvit("mvitv2_nano"), tmp_path / "nan.pth")
