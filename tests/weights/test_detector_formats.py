"""Names and class order of a whole detector in both homes."""

import pytest
import torch

from mvit_det.errors import InputError
from mvit_det.torchvision import build_detector
from mvit_det.weights.formats.detectors import MODULES, to_detectron2, to_torchvision


def detector(num_classes, cascade):
    torch.manual_seed(0)
    model = build_detector("mvitv2_nano", num_classes, "cascade_mask_rcnn" if cascade else "mask_rcnn")
    with torch.no_grad():
        for tensor in model.state_dict().values():  # norms start alike
            tensor.copy_(torch.randn(tensor.shape) * 10)
    return model.state_dict()


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("cascade", [False, True])
@pytest.mark.parametrize("num_classes", [2, 81])
def test_a_round_trip_loses_nothing(cascade, num_classes):
    weights = detector(num_classes, cascade)
    there = to_detectron2(weights)
    assert_same(to_torchvision(there), weights)
    assert_same(to_detectron2(to_torchvision(there)), there)


def test_the_names_of_mask_rcnn():
    weights = detector(3, cascade=False)
    there = to_detectron2(weights)
    for name, original in {
        "backbone.bottom_up.blocks.0.attn.qkv.weight": "backbone.body.blocks.0.attn.qkv.weight",
        "backbone.fpn_lateral2.bias": "backbone.fpn.inner_blocks.0.0.bias",
        "backbone.fpn_output5.weight": "backbone.fpn.layer_blocks.3.0.weight",
        "proposal_generator.rpn_head.conv.weight": "rpn.head.conv.0.0.weight",
        "proposal_generator.rpn_head.objectness_logits.bias": "rpn.head.cls_logits.bias",
        "proposal_generator.rpn_head.anchor_deltas.weight": "rpn.head.bbox_pred.weight",
        "roi_heads.box_head.fc1.weight": "roi_heads.box_head.fc6.weight",
        "roi_heads.box_head.fc2.bias": "roi_heads.box_head.fc7.bias",
        "roi_heads.box_predictor.bbox_pred.weight": "roi_heads.box_predictor.bbox_pred.weight",
        "roi_heads.mask_head.mask_fcn4.weight": "roi_heads.mask_head.3.0.weight",
        "roi_heads.mask_head.deconv.weight": "roi_heads.mask_predictor.conv5_mask.weight",
        "roi_heads.mask_head.predictor.bias": "roi_heads.mask_predictor.mask_fcn_logits.bias",
    }.items():
        assert torch.equal(there[name], weights[original]), name


def test_the_names_of_a_cascade():
    weights = detector(3, cascade=True)
    there = to_detectron2(weights)
    for name, original in {
        "proposal_generator.rpn_head.conv.conv0.weight": "rpn.head.conv.0.0.weight",
        "proposal_generator.rpn_head.conv.conv1.bias": "rpn.head.conv.1.0.bias",
        "roi_heads.box_head.0.conv1.weight": "roi_heads.box_head.0.0.0.weight",
        "roi_heads.box_head.1.conv4.norm.running_var": "roi_heads.box_head.1.3.1.running_var",
        "roi_heads.box_head.2.fc1.bias": "roi_heads.box_head.2.5.bias",
        "roi_heads.box_predictor.2.bbox_pred.weight": "roi_heads.box_predictor.2.bbox_pred.weight",
        "roi_heads.mask_head.mask_fcn2.norm.num_batches_tracked": (
            "roi_heads.mask_head.1.1.num_batches_tracked"
        ),
    }.items():
        assert torch.equal(there[name], weights[original]), name


def test_the_background_is_detectron2s_last_class_and_torchvisions_first():
    weight, bias = torch.arange(8.0).reshape(4, 2), torch.tensor([1.0, 2.0, 3.0, 0.0])
    for stage in ("", ".1"):
        name = f"roi_heads.box_predictor{stage}.cls_score"
        here = {f"{name}.weight": weight, f"{name}.bias": bias, "proposal_generator.rpn_head.conv.bias": bias}
        there = to_torchvision(here)
        assert there[f"{name}.weight"].tolist() == [[6, 7], [0, 1], [2, 3], [4, 5]]
        assert there[f"{name}.bias"].tolist() == [0, 1, 2, 3]
        assert there["rpn.head.conv.0.0.bias"] is bias
        assert_same(to_detectron2(there), here)


def test_no_name_stands_for_two():
    # The RPN's first convolution alone goes by another name where it is the only one.
    assert len({ours for ours, _ in MODULES}) == len(MODULES)
    assert len({theirs for _, theirs in MODULES}) == len(MODULES) - 1


def test_what_a_detector_does_not_have_keeps_its_name_and_what_is_computed_is_left_out():
    mean = torch.zeros(3, 1, 1)
    weights = {
        "pixel_mean": mean,
        "pixel_std": mean,
        "proposal_generator.anchor_generator.cell_anchors.0": mean,
        "backbone.fpn_lateral2.norm.weight": mean,
        "iteration": mean,
    }
    assert list(to_torchvision(weights)) == ["backbone.fpn_lateral2.norm.weight", "iteration"]
    assert list(to_detectron2({"rpn.head.other.bias": mean})) == ["rpn.head.other.bias"]


def test_weights_are_not_converted_twice():
    weights = {"rpn.head.cls_logits.bias": torch.zeros(3)}
    with pytest.raises(
        InputError, match=r"weights with torchvision's names, such as rpn.head.cls_logits.bias"
    ):
        to_torchvision(weights)
    with pytest.raises(InputError, match="weights with Detectron2's names"):
        to_detectron2(to_detectron2(weights))
