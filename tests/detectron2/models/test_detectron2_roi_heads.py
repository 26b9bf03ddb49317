"""Losses that are means over pictures."""

import pytest
import torch

pytest.importorskip("detectron2.modeling", reason="Detectron2 is not installed")

from detectron2.layers import ShapeSpec
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage

from mvit_det.detectron2.models.roi_heads import BoxPredictor, MaskHead, RegionBatchNorm


def regions(labels):
    """One picture with a region for each label; 2 is the background."""
    count = len(labels)
    boxes = torch.rand(count, 4) * 20
    boxes[:, 2:] += boxes[:, :2] + 5
    masks = torch.zeros(count, 50, 50, dtype=torch.bool)
    masks[:, 10:30, 5:25] = True
    return Instances(
        (50, 50),
        proposal_boxes=Boxes(boxes),
        gt_boxes=Boxes(boxes + 1),
        gt_classes=torch.tensor(labels, dtype=torch.int64),
        gt_masks=BitMasks(masks),
    )


def test_box_losses_are_means_over_pictures():
    predictor = BoxPredictor(
        ShapeSpec(channels=8), box2box_transform=Box2BoxTransform((1, 1, 1, 1)), num_classes=2
    )
    pictures = [regions([0, 2, 2]), regions([1]), regions([])]
    predictions = torch.randn(4, 3), torch.randn(4, 8)
    with EventStorage():
        together = predictor.losses(predictions, pictures)
        alone = [
            predictor.losses(tuple(p[part] for p in predictions), [picture])
            for part, picture in zip((slice(0, 3), slice(3, 4), slice(4, 4)), pictures, strict=True)
        ]
    assert set(together) == {"loss_cls", "loss_box_reg"}
    for name, loss in together.items():
        assert loss > 0
        assert loss == pytest.approx(sum(one[name].item() for one in alone) / 3, rel=1e-6)


def test_the_mask_loss_is_a_mean_over_pictures_and_inference_is_detectron2s():
    head = MaskHead(ShapeSpec(channels=4, height=14, width=14), num_classes=2, conv_dims=[4, 4])
    pictures = [regions([0, 1, 1]), regions([]), regions([1])]
    features = torch.randn(4, 4, 14, 14)
    with EventStorage():
        together = head(features, pictures)["loss_mask"]
        alone = [
            head(features[part], [picture])["loss_mask"].item()
            for part, picture in zip((slice(0, 3), slice(3, 3), slice(3, 4)), pictures, strict=True)
        ]
    assert alone[1] == 0
    assert together.item() == pytest.approx(sum(alone) / 3, rel=1e-6)
    found = Instances((50, 50), pred_classes=torch.tensor([0, 1]))
    assert head.eval()(features[:2], [found])[0].pred_masks.shape == (2, 1, 28, 28)


def test_batch_norm_keeps_the_dtype_and_computes_in_float32():
    x = torch.randn(50, 4, 7, 7) * 0.01 + 10  # a variance that bf16 cannot tell from 0
    expected = torch.nn.BatchNorm2d(4)(x.bfloat16().float())
    found = RegionBatchNorm(4)(x.bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=0.01, atol=0.01)
