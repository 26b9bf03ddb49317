"""Names and the order of classes of a detector in both integrations."""

from pathlib import Path

import pytest
import torch

from mvit_det.errors import InputError
from mvit_det.heads import HEADS
from mvit_det.weights import identify_checkpoint, to_detectron2, to_torchvision
from mvit_det.weights.formats.torchvision import MODULES


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("num_classes", [2, 81])
def test_a_round_trip_loses_nothing(head, num_classes, detector_weights, assert_same_weights):
    weights = detector_weights(head, num_classes)
    ours = to_detectron2(weights)
    assert_same_weights(to_torchvision(ours), weights)
    assert_same_weights(to_detectron2(to_torchvision(ours)), ours)
    checkpoint = identify_checkpoint(Path("a.pth"), {"model": weights})
    assert checkpoint.format == "mvit_det, torchvision"
    assert (checkpoint.kind, checkpoint.head, checkpoint.num_classes) == ("detector", head, num_classes - 1)
    assert_same_weights(checkpoint.weights, ours)


NAMES = {  # head -> our name: torchvision's name
    "mask_rcnn": {
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
    },
    "cascade_mask_rcnn": {
        "proposal_generator.rpn_head.conv.conv0.weight": "rpn.head.conv.0.0.weight",
        "proposal_generator.rpn_head.conv.conv1.bias": "rpn.head.conv.1.0.bias",
        "roi_heads.box_head.0.conv1.weight": "roi_heads.box_head.0.0.0.weight",
        "roi_heads.box_head.1.conv4.norm.running_var": "roi_heads.box_head.1.3.1.running_var",
        "roi_heads.box_head.2.fc1.bias": "roi_heads.box_head.2.5.bias",
        "roi_heads.box_predictor.2.bbox_pred.weight": "roi_heads.box_predictor.2.bbox_pred.weight",
        "roi_heads.mask_head.mask_fcn2.norm.num_batches_tracked": (
            "roi_heads.mask_head.1.1.num_batches_tracked"
        ),
    },
}


@pytest.mark.parametrize("head", NAMES)
def test_the_names_of_weights(detector_weights, head):
    weights = detector_weights(head, 3)
    ours = to_detectron2(weights)
    for name, original in NAMES[head].items():
        assert torch.equal(ours[name], weights[original]), name


def test_the_background_is_detectron2s_last_class_and_torchvisions_first(assert_same_weights):
    weight, bias = torch.arange(8.0).reshape(4, 2), torch.tensor([1.0, 2.0, 3.0, 0.0])
    for stage in ("", ".1"):
        name = f"roi_heads.box_predictor{stage}.cls_score"
        ours = {f"{name}.weight": weight, f"{name}.bias": bias, "proposal_generator.rpn_head.conv.bias": bias}
        theirs = to_torchvision(ours)
        assert theirs[f"{name}.weight"].tolist() == [[6, 7], [0, 1], [2, 3], [4, 5]]
        assert theirs[f"{name}.bias"].tolist() == [0, 1, 2, 3]
        assert theirs["rpn.head.conv.0.0.bias"] is bias
        assert_same_weights(to_detectron2(theirs), ours)


def test_names_are_unambiguous():
    # Only the first convolution of the RPN has two names in Detectron2; a second one decides which.
    assert len(set(MODULES.values())) == len(MODULES) - 1


def test_unknown_tensors_keep_their_names_and_computed_ones_are_left_out():
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
        InputError, match=r"torchvision's names, such as 'rpn.head.cls_logits.bias'; expected"
    ):
        to_torchvision(weights)
    with pytest.raises(InputError, match="weights with Detectron2's names, such as .* only torchvision's"):
        to_detectron2(to_detectron2(weights))
