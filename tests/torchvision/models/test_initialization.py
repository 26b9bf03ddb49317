import math

import pytest
import torch

from mvit_det.torchvision import build_detector


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    return build_detector("mvitv2_nano", 81)


def test_predictions_start_close_to_zero(detector):
    predictor, masks = detector.roi_heads.box_predictor, detector.roi_heads.mask_predictor
    for layer, std in (
        (predictor.cls_score, 0.01),
        (predictor.bbox_pred, 0.001),
        (masks.mask_fcn_logits, 0.001),
    ):
        assert layer.weight.std().item() == pytest.approx(std, rel=0.05)
        assert not layer.bias.any()


def test_linear_layers_keep_the_variance_of_their_input(detector):
    layer = detector.roi_heads.box_head.fc6  # from 64 channels of 7 x 7 cells
    bound = math.sqrt(3 / (64 * 49))  # uniform, with a variance of 1 / inputs
    assert layer.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
    assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.01)
    assert not layer.bias.any()
