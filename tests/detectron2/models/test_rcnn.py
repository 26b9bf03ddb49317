from copy import deepcopy

import pytest
import torch
from detectron2.config import instantiate
from detectron2.layers import Conv2d, ShapeSpec
from detectron2.modeling import GeneralizedRCNN
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.roi_heads import KRCNNConvDeconvUpsampleHead
from detectron2.structures import Boxes, Instances, Keypoints
from torch import nn

from mvit_det.detectron2 import get_config
from mvit_det.detectron2.models import rcnn

SCALES = [1 / 4, 1 / 8, 1 / 16, 1 / 32]


def with_plain_layers(name):
    """The model of a config with our layers, and the same with Detectron2's."""
    config = get_config(name).model
    config.roi_heads.num_classes = 3
    model = instantiate(config).eval()
    config._target_ = GeneralizedRCNN
    plain = instantiate(config).eval()
    plain.load_state_dict(model.state_dict())
    for heads in (model.roi_heads, plain.roi_heads):
        heads.box_predictor.test_score_thresh = 0.0
    return model, plain


@pytest.mark.usefixtures("native")
def test_detects_the_same_objects_with_the_same_gradients():
    model, plain = with_plain_layers("mask_rcnn_mvitv2_nano")
    assert not any(type(module) in (Conv2d, ROIPooler) for module in model.roi_heads.modules())
    image = {"image": 255 * torch.rand(3, 96, 130), "height": 96, "width": 130}
    with torch.no_grad():
        (result,), (expected,) = ([x["instances"] for x in detector([image])] for detector in (model, plain))
    assert len(result) == len(expected) > 10
    torch.testing.assert_close(result.scores, expected.scores, rtol=0, atol=1e-5)
    torch.testing.assert_close(result.pred_boxes.tensor, expected.pred_boxes.tensor, rtol=0, atol=1e-2)
    channels = model.backbone._out_feature_channels["p2"]
    levels = [torch.randn(1, channels, 24 >> n, 32 >> n, requires_grad=True) for n in range(4)]
    boxes = [Boxes(torch.tensor([[4.0, 8, 60, 50], [0, 0, 130, 96]]))]
    gradients = []
    for heads in (model.roi_heads, plain.roi_heads):
        logits = heads.mask_head.layers(heads.mask_pooler(levels, boxes))
        gradients.append(torch.autograd.grad(logits.square().sum(), levels))
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)


def test_the_pooler_falls_back_to_detectron2s():
    pooler = ROIPooler(output_size=7, scales=SCALES, sampling_ratio=0, pooler_type="ROIAlignV2")
    for channels, dtype in ((5, torch.float32), (32, torch.float64)):
        boxes = [Boxes(torch.tensor([[4.0, 8, 60, 50], [0, 0, 150, 120]], dtype=dtype))]
        features = [torch.randn(1, channels, 32 >> n, 40 >> n, dtype=dtype) for n in range(4)]
        pooler.__class__ = ROIPooler
        expected = pooler(features, boxes)
        pooler.__class__ = rcnn.RegionPooler
        assert torch.equal(pooler(features, boxes), expected)


def test_layers_that_are_not_supported_are_left_as_they_are():
    model, _ = with_plain_layers("mask_rcnn_mvitv2_nano")
    parts = {name: getattr(model, name) for name in ("backbone", "proposal_generator", "roi_heads")}
    strided = Conv2d(32, 32, 3, stride=2, padding=1)
    others = [strided, ROIPooler(7, SCALES, 2, "ROIAlignV2"), ROIPooler(7, SCALES, 0, "ROIPool")]
    others.append(ROIPooler((4, 16), SCALES[:1], 0, "ROIAlignV2"))
    model.roi_heads.others = nn.ModuleList(others)
    rcnn.RCNN(**parts, pixel_mean=[0.0, 0, 0], pixel_std=[1.0, 1, 1])
    assert [type(module) for module in others] == [Conv2d, ROIPooler, ROIPooler, ROIPooler]


def test_boxes_of_other_images_are_refused():
    pooler = ROIPooler(output_size=7, scales=SCALES, sampling_ratio=0, pooler_type="ROIAlignV2")
    pooler.__class__ = rcnn.RegionPooler
    features = [torch.randn(1, 32, 32 >> n, 40 >> n) for n in range(4)]
    with pytest.raises(AssertionError, match="batch dim 0 is 1, but box_list has length 2"):
        pooler(features, 2 * [Boxes(torch.tensor([[4.0, 8, 60, 50]]))])
    assert pooler([level[:0] for level in features], []).shape == (0, 32, 7, 7)


@pytest.mark.usefixtures("native")
def test_keypoints_have_detectron2s_losses():
    model, plain = with_plain_layers("faster_rcnn_mvitv2_nano")
    channels = model.backbone._out_feature_channels["p2"]
    head = KRCNNConvDeconvUpsampleHead(
        ShapeSpec(channels, 14, 14), num_keypoints=3, conv_dims=[32], loss_normalizer="visible"
    )
    for detector in (model, plain):
        detector.roi_heads.keypoint_in_features = ["p2", "p3", "p4", "p5"]
        detector.roi_heads.keypoint_pooler = ROIPooler(14, SCALES, 0, "ROIAlignV2")
        detector.roi_heads.keypoint_head = deepcopy(head)
    parts = {name: getattr(model, name) for name in ("backbone", "proposal_generator", "roi_heads")}
    model = rcnn.RCNN(**parts, pixel_mean=[0.0, 0, 0], pixel_std=[1.0, 1, 1])
    box = torch.tensor([[10.0, 10, 90, 80], [5, 10, 90, 90]])
    keypoints = torch.tensor([[[20.0, 20, 2], [50, 60, 2], [80, 30, 2]]]).expand(2, 3, 3)
    objects = Instances(
        (96, 96), proposal_boxes=Boxes(box), gt_keypoints=Keypoints(keypoints), pred_boxes=Boxes(box)
    )
    levels = {f"p{n + 2}": torch.randn(1, channels, 24 >> n, 24 >> n) for n in range(4)}
    losses, detections = [], []
    for detector in (model, plain):
        heads = detector.roi_heads
        features = heads.keypoint_pooler(list(levels.values()), [objects.proposal_boxes])
        losses.append(heads.keypoint_head.train()(features, [objects]))
        detections.append(heads.keypoint_head.eval()(features, [deepcopy(objects)])[0].pred_keypoints)
    assert type(model.roi_heads.keypoint_pooler) is rcnn.RegionPooler
    torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(*detections, rtol=1e-3, atol=1e-3)
