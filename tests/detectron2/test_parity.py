"""MViTBackbone has the keys, outputs and gradients of Detectron2's own MViT."""

from functools import partial

import pytest
import torch

pytest.importorskip("timm", reason="Detectron2's MViT needs timm, which is not installed")

from detectron2.modeling import MViT as Detectron2MViT

from mvit_det import VARIANTS
from mvit_det.detectron2 import MViTBackbone

SIZES = [(64, 64), (333, 517), (45, 33)]


def build_both(name, **changes):
    variant = VARIANTS[name]
    keywords = {
        "embed_dim": variant.embed_dim,
        "depth": sum(variant.depths),
        "num_heads": variant.num_heads,
        "last_block_indexes": variant.last_block_indexes,
        "norm_layer": partial(torch.nn.LayerNorm, eps=1e-6),
        "rel_pos_zero_init": False,
    }
    keywords |= changes
    reference, backbone = Detectron2MViT(**keywords), MViTBackbone(**keywords)
    for key, parameter in reference.named_parameters():
        if key.endswith("bias") or "rel_pos" in key:
            torch.nn.init.normal_(parameter, std=0.1)
    backbone.load_state_dict(reference.state_dict(), strict=True)
    reference.load_state_dict(backbone.state_dict(), strict=True)
    return reference, backbone


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mvitv2_t", "mvitv2_s", "mvitv2_b"])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_outputs_and_gradients_are_equal(name, height, width):
    reference, backbone = build_both(name)
    assert_equal(reference, backbone, torch.randn(1, 3, height, width))


@pytest.mark.slow
def test_outputs_and_gradients_are_equal_for_a_large_image():
    reference, backbone = build_both("mvitv2_t")
    assert_equal(reference, backbone, torch.randn(1, 3, 800, 1216))


@pytest.mark.parametrize(
    "changes",
    [
        {"use_abs_pos": True},
        {"use_abs_pos": True, "pretrain_use_cls_token": False, "pretrain_img_size": 64},
        {"use_rel_pos": False, "residual_pooling": False, "qkv_bias": False},
        {"adaptive_window_size": 24, "adaptive_kv_stride": 2, "img_size": 96},
        {"out_features": ("scale3", "scale5"), "mlp_ratio": 3.0},
    ],
    ids=lambda changes: ",".join(changes),
)
def test_keywords_have_the_same_meaning(changes):
    reference, backbone = build_both("mvitv2_nano", **changes)
    assert_equal(reference, backbone, torch.randn(2, 3, 90, 125))


def test_keywords_have_the_same_defaults():
    reference, backbone = Detectron2MViT(), MViTBackbone()
    backbone.load_state_dict(reference.state_dict(), strict=True)
    assert_equal(reference, backbone, torch.randn(1, 3, 64, 64))


def assert_equal(reference, backbone, images):
    assert backbone.output_shape() == reference.output_shape()
    assert backbone.size_divisibility == reference.size_divisibility
    with torch.no_grad():
        expected, outputs = reference(images), backbone(images)
    assert list(outputs) == list(expected)
    for name, output in outputs.items():
        error = (output - expected[name]).abs().max() / expected[name].abs().max()
        assert error < 1e-5, name

    # Gradients are compared in float64: in float32, rounding decides which of two nearly equal values
    # max-pooling selects, and so where their gradient flows.
    torch.manual_seed(0)
    weights = {name: torch.randn_like(output, dtype=torch.float64) for name, output in outputs.items()}
    for module in (reference, backbone):
        outputs = module.double()(images.double())
        sum((output * weights[name]).sum() for name, output in outputs.items()).backward()
    for (key, a), b in zip(reference.named_parameters(), backbone.parameters(), strict=True):
        if a.grad is None:
            assert b.grad is None, key
            continue
        if not key.endswith("norm_k.bias"):  # only rounding errors where attention is global
            assert (a.grad - b.grad).abs().max() / a.grad.abs().max() < 1e-8, key
