"""Losses that are means over images, and batch norm in float32."""

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage

from mvit_det.detectron2.models.roi_heads import BoxPredictor, MaskHead, RegionBatchNorm


def regions(labels):
    """Return the regions of one image, one for each label; 2 is the background."""
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


def test_box_losses_are_means_over_images():
    predictor = BoxPredictor(
        ShapeSpec(channels=8), box2box_transform=Box2BoxTransform((1, 1, 1, 1)), num_classes=2
    )
    images = [regions([0, 2, 2]), regions([1]), regions([])]
    predictions = torch.randn(4, 3), torch.randn(4, 8)
    with EventStorage():
        batch_loss = predictor.losses(predictions, images)
        image_losses = [
            predictor.losses(tuple(p[part] for p in predictions), [image])
            for part, image in zip((slice(0, 3), slice(3, 4), slice(4, 4)), images, strict=True)
        ]
    assert set(batch_loss) == {"loss_cls", "loss_box_reg"}
    for name, loss in batch_loss.items():
        assert loss > 0
        assert loss == pytest.approx(sum(one[name].item() for one in image_losses) / 3, rel=1e-5)


def test_mask_loss_is_a_mean_over_images():
    head = MaskHead(ShapeSpec(channels=4, height=14, width=14), num_classes=2, conv_dims=[4, 4])
    images = [regions([0, 1, 1]), regions([]), regions([1])]
    features = torch.randn(4, 4, 14, 14)
    with EventStorage():
        batch_loss = head(features, images)["loss_mask"]
        image_losses = [
            head(features[part], [image])["loss_mask"].item()
            for part, image in zip((slice(0, 3), slice(3, 3), slice(3, 4)), images, strict=True)
        ]
    assert image_losses[1] == 0
    assert batch_loss.item() == pytest.approx(sum(image_losses) / 3, rel=1e-5)
    detections = Instances((50, 50), pred_classes=torch.tensor([0, 1]))
    assert head.eval()(features[:2], [detections])[0].pred_masks.shape == (2, 1, 28, 28)


def test_batch_norm_keeps_the_dtype_and_computes_in_float32():
    x = torch.randn(50, 4, 7, 7) * 0.01 + 10  # bf16 cannot represent this variance
    expected = torch.nn.BatchNorm2d(4)(x.bfloat16().float())
    output = RegionBatchNorm(4)(x.bfloat16())
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), expected, rtol=0.01, atol=0.01)
