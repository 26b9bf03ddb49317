"""Ours against timm's MViTv2 with random weights, at the size of pretraining."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from mvit_det import build_classifier
from mvit_det.weights import load_checkpoint, read_checkpoint

mvitv2 = pytest.importorskip("timm.models.mvitv2", reason="timm is not installed")

# With residual pooling timm adds the class token's query to its output, which the originals do not.
CASES = {
    "mvitv2_tiny": ("mvitv2_t", {}),
    "mvitv2_small": ("mvitv2_s", {}),
    "mvitv2_base": ("mvitv2_b", {}),
    "mvitv2_large": ("mvitv2_l", {"dim_mul_in_att": False}),
    "mvitv2_base_cls": ("mvitv2_b", {"class_token": True, "residual_pooling": False}),
}


@torch.no_grad()
def randomize(model):
    """Give every parameter values that show; relative positions start near zero, norms at one."""
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        fan_in = parameter[0].numel() if "rel_pos" not in name and parameter.dim() in (2, 4) else 4
        parameter.normal_(std=fan_in**-0.5 if parameter.dim() > 1 else 0.2)
        if "norm" in name and name.endswith("weight"):
            parameter.add_(1)


@pytest.mark.parametrize("name", CASES)
def test_scores_and_stages_are_timms(name, tmp_path):
    variant, keywords = CASES[name]
    cfg = mvitv2.model_cfgs[name]
    cfg = replace(cfg, stride_kv=None, residual_pooling=keywords.get("residual_pooling", True))
    theirs = mvitv2.MultiScaleVit(cfg, num_classes=7).eval()
    randomize(theirs)
    ours = build_classifier(variant, num_classes=7, **keywords).eval()
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    checkpoint = read_checkpoint(tmp_path / "model.safetensors")
    assert (checkpoint.format, checkpoint.variant) == ("timm", variant)
    assert checkpoint.backbone_keywords == {k: v for k, v in keywords.items() if k == "dim_mul_in_att"}
    assert len(load_checkpoint(ours, checkpoint).loaded) == len(ours.state_dict())
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())

    images, stages = torch.randn(1, 3, 224, 224), []
    for end in (sum(cfg.depths[: stage + 1]) for stage in range(4)):
        ours.blocks[end - 1].register_forward_hook(lambda block, inputs, output: stages.append(output))
    with torch.no_grad():
        expected_scores, scores = theirs(images), ours(images)
        expected_stages = theirs.forward_intermediates(images, intermediates_only=True)
    if cfg.use_cls_token:
        stages = [tokens[:, 1:].unflatten(1, map_hw) for tokens, map_hw in stages]
    maps = [stage.permute(0, 3, 1, 2) for stage in stages]
    for actual, expected in zip([scores, *maps], [expected_scores, *expected_stages], strict=True):
        error = (actual - expected).abs().max() / expected.abs().max()
        assert error < 1e-5
