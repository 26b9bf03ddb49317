"""The contents of a file, identified by the names and shapes of its tensors."""

from pathlib import Path

import pytest
import torch

from mvit_det import build_mvit
from mvit_det.backbone.variants import VARIANTS
from mvit_det.heads import HEADS
from mvit_det.weights import identify_checkpoint, to_detectron2
from mvit_det.weights.checkpoint import strip_wrappers


def test_every_variant_is_identified_by_its_shapes():
    for name in VARIANTS:
        for dim_mul_in_att in (True, False):
            with torch.device("meta"):
                state = build_mvit(name, dim_mul_in_att=dim_mul_in_att).state_dict()
            checkpoint = identify_checkpoint(Path("a.pth"), state)
            is_default = VARIANTS[name].dim_mul_in_att == dim_mul_in_att
            assert checkpoint.variant == name
            assert checkpoint.backbone_keywords == ({} if is_default else {"dim_mul_in_att": dim_mul_in_att})


def test_another_number_of_heads_is_another_variant():
    weights = build_mvit("mvitv2_nano", num_heads=2).state_dict()
    assert identify_checkpoint(Path("a.pth"), weights).variant is None


def test_an_unknown_variant_has_no_name():
    state = build_mvit("mvitv2_nano", embed_dim=48).state_dict()
    checkpoint = identify_checkpoint(Path("a.pth"), state)
    assert (checkpoint.variant, checkpoint.backbone_keywords) == (None, {})
    assert str(checkpoint) == "an MViT of unknown variant, backbone (mvit_det)"


@pytest.mark.parametrize("head", HEADS)
def test_a_head_is_identified_by_its_box_heads_and_masks(head, detector_weights):
    weights = to_detectron2(detector_weights(head, num_classes=3))
    checkpoint = identify_checkpoint(Path("a.pth"), weights)
    assert (checkpoint.head, checkpoint.num_classes) == (head, 2)
    assert str(checkpoint) == f"mvitv2_nano, {HEADS[head].title}, 2 classes (Detectron2)"


def test_a_detector_with_another_number_of_box_heads_has_no_known_head(detector_weights):
    weights = to_detectron2(detector_weights("cascade_rcnn", num_classes=3))
    two_box_heads = {key: weight for key, weight in weights.items() if "box_predictor.2" not in key}
    checkpoint = identify_checkpoint(Path("a.pth"), two_box_heads)
    assert checkpoint.head is None
    assert str(checkpoint) == "mvitv2_nano, detector, 2 classes (Detectron2)"


@pytest.mark.parametrize(
    "key", ["module.a.b", "_orig_mod.a.b", "module._orig_mod.a.b", "detector.a._orig_mod.b", "a.b"]
)
def test_wrappers_are_stripped_from_names(key):
    assert strip_wrappers(key) == "a.b"


def test_plain_values_beside_the_weights_are_metadata():
    content = {"model": build_mvit("mvitv2_nano").state_dict(), "epoch": 4, "hooks": [1], "seed": 2**63}
    checkpoint = identify_checkpoint(Path("a.pth"), content | {"mvit_det": {"variant": "mvitv2_nano"}})
    assert checkpoint.metadata == {"epoch": 4, "mvit_det": {"variant": "mvitv2_nano"}}
    assert identify_checkpoint(Path("a.pth"), content | {"mvit_det": "text"}).metadata == {"epoch": 4}
