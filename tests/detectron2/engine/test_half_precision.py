import pytest
import torch
from detectron2.layers import mask_ops
from detectron2.modeling.poolers import ROIPooler

from mvit_det.detectron2.engine.half_precision import HalfPrecision
from mvit_det.detectron2.lazy_config import build, load_config


@pytest.fixture
def model(nano_arguments):
    """A detector with random weights that returns boxes of any score."""
    cfg = load_config(nano_arguments[1], [*nano_arguments[2:], "train.device=cpu"])
    model = build(cfg.model).eval()
    model.roi_heads.box_predictor.test_score_thresh = 0.0
    return model


@pytest.fixture
def samples():
    return [{"image": torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8), "height": 128, "width": 192}]


def test_boxes_scores_and_masks_are_computed_in_float32(model, samples, monkeypatch):
    pooled, pasted = [], []  # dtypes; Detectron2 pools the features of boxes in their common dtype
    for module in model.modules():
        if isinstance(module, ROIPooler):
            module.register_forward_hook(lambda *call: pooled.append(call[2].dtype))
    paste_mask = mask_ops._do_paste_mask

    def record_and_paste(masks, *arguments, **keywords):
        pasted.append(masks.dtype)
        return paste_mask(masks, *arguments, **keywords)

    monkeypatch.setattr(mask_ops, "_do_paste_mask", record_and_paste)
    with torch.no_grad():
        (output,) = HalfPrecision(model, torch.bfloat16)(samples)
    instances = output["instances"]
    assert len(instances) > 0
    assert set(pooled) == set(pasted) == {torch.float32}
    assert instances.scores.dtype == instances.pred_boxes.tensor.dtype == torch.float32
    assert (instances.scores != instances.scores.bfloat16()).any()


def test_the_network_computes_in_half_precision(model, samples):
    dtypes = []
    model.backbone.fpn_output2.register_forward_hook(lambda *call: dtypes.append(call[2].dtype))
    with torch.no_grad():
        HalfPrecision(model, torch.bfloat16)(samples)
    assert dtypes == [torch.bfloat16]
