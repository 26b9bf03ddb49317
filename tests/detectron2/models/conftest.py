"""Detectors of Detectron2 with random weights."""

import pytest
import torch

from mvit_det.backbone.mvit import variant_keywords

FACTORS = {"objectness_logits": 30, "cls_score": 8, "bbox_pred": 5, "predictor": 300}


def make_narrow(model):
    """Reduce the channels of a cascade, in place, so that a test takes seconds."""
    from detectron2.layers import ShapeSpec

    model.backbone.out_channels = 32
    heads = model.roi_heads
    for box_head, predictor in zip(heads.box_heads, heads.box_predictors, strict=True):
        box_head.update(input_shape=ShapeSpec(channels=32, height=7, width=7), conv_dims=[32], fc_dims=[64])
        predictor.input_shape = ShapeSpec(channels=64)
    if "mask_head" in heads:
        heads.mask_head.update(input_shape=ShapeSpec(channels=32, height=14, width=14), conv_dims=[32, 32])


@pytest.fixture
def build_detector():
    """A function from the name of a head to a detector with the nano backbone and three classes."""
    # Imported here, because this file is also loaded where Detectron2 is missing and the tests are skipped.
    from detectron2.config import instantiate

    from mvit_det.detectron2 import get_config

    def build(head, **keywords):
        if head == "mask_rcnn":
            model = get_config("mask_rcnn_mvitv2_nano").model
        else:
            model = get_config(f"{head}_mvitv2_t_3x").model
            model.backbone.bottom_up.update(variant_keywords("mvitv2_nano"))
            make_narrow(model)
        model.proposal_generator.post_nms_topk = [50, 50]
        model.roi_heads.update(num_classes=3, **keywords)
        torch.manual_seed(0)
        detector = instantiate(model).eval()
        with torch.no_grad():  # predictions differ between regions, and some scores are high
            for name, parameter in detector.named_parameters():
                factor = next((f for part, f in FACTORS.items() if part in name), 1)
                parameter.mul_(factor if name.endswith("weight") else 1)
        return detector

    return build
