"""Files as the publishers write them, made here with random numbers, and what becomes of them."""

import pickle
import re
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mvit_det import build_classifier, build_mvit
from mvit_det.backbone.variants import VARIANTS
from mvit_det.errors import InputError
from mvit_det.weights import load_weights, read_checkpoint
from mvit_det.weights.checkpoint import keywords_of, variant_of


def randomize(model):
    """Give every parameter a random value of its own; a fresh model has many ones and zeros."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.02)
    return model.eval()


def authors_file(classifier, path, is_slowfast=False):
    """Write a classifier as the MViTv2 repository does, or SlowFast with its kernels of one frame."""
    renamed = {}
    for key, weight in classifier.state_dict().items():
        is_3d = is_slowfast and re.search(r"pool_[qkv]\.weight", key)
        key = key.replace("head.", "head.projection.") if key.startswith("head.") else key
        renamed[key] = weight.unsqueeze(2) if is_3d else weight
    config = "TRAIN:\n  DATASET: imagenet\n  BATCH_SIZE: 256\nSOLVER:\n  MAX_EPOCH: 300\n"
    torch.save({"epoch": 299, "model_state": renamed, "optimizer_state": {"state": {}}, "cfg": config}, path)
    return path


def assert_backbone(model, weights):
    """Assert that a backbone holds exactly these weights, but for the norms of its stages."""
    own = {key: weight for key, weight in model.state_dict().items() if not key.startswith("scale")}
    assert own
    for key, weight in own.items():
        assert torch.equal(weight, weights[key]), key


@pytest.mark.parametrize(
    ("variant", "options", "is_slowfast"),
    [
        ("mvitv2_t", {}, False),
        ("mvitv2_nano", {"dim_mul_in_att": False}, False),
        ("mvitv2_nano", {"class_token": True}, False),
        ("mvitv2_nano", {"use_abs_pos": True}, True),
        ("mvitv1_t", {}, True),
    ],
)
def test_a_published_classifier_fills_a_classifier_and_a_backbone(variant, options, is_slowfast, tmp_path):
    published = randomize(build_classifier(variant, num_classes=10, **options))
    path = authors_file(published, tmp_path / "published.pyth", is_slowfast)
    checkpoint = read_checkpoint(path)
    assert (checkpoint.kind, checkpoint.num_classes) == ("classifier", 10)
    assert checkpoint.variant == variant
    assert checkpoint.backbone_keywords == {k: v for k, v in options.items() if k == "dim_mul_in_att"}
    assert checkpoint.format == ("SlowFast" if is_slowfast else "the MViTv2 repository")

    classifier = build_classifier(variant, num_classes=10, **options).eval()
    report = load_weights(classifier, path)
    assert len(report.loaded) == len(classifier.state_dict())
    images = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(classifier(images), published(images))

    overrides = {key: value for key, value in options.items() if key != "class_token"}
    if "use_abs_pos" in options:
        overrides["pretrain_use_cls_token"] = False
    backbone = build_mvit(variant, **overrides)
    report = load_weights(backbone, path)
    assert_backbone(backbone, published.state_dict())
    assert all(key.startswith("scale") for key in report.missing)
    assert {key.partition(".")[0] for key in report.unused} <= {"norm", "head", "cls_token"}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_of_arrays_is_read_to_the_bit(protocol, tmp_path):
    state = randomize(build_mvit("mvitv2_nano")).state_dict()
    arrays = OrderedDict((f"backbone.bottom_up.{key}", weight.numpy()) for key, weight in state.items())
    key = "backbone.bottom_up.blocks.0.mlp.fc1.weight"
    arrays[key] = np.asfortranarray(arrays[key])
    content = {"model": arrays, "__author__": "zoo", "iteration": np.int64(7), "lr": np.float32(0.5)}
    (tmp_path / "model_final.pkl").write_bytes(pickle.dumps(content, protocol))
    checkpoint = read_checkpoint(tmp_path / "model_final.pkl")
    assert checkpoint.format == "Detectron2"
    assert checkpoint.metadata == {"__author__": "zoo", "iteration": 7, "lr": 0.5}
    assert checkpoint.weights.keys() == state.keys()
    for key, weight in checkpoint.weights.items():
        assert torch.equal(weight, state[key]), key


def test_positions_of_another_size_are_resized(tmp_path):
    published = randomize(build_classifier("mvitv1_t", 10, pretrain_img_size=64))
    backbone = build_mvit("mvitv1_t", pretrain_img_size=96)
    report = load_weights(backbone, authors_file(published, tmp_path / "small.pyth"))
    assert report.resized == ("pos_embed",)
    assert backbone.pos_embed.shape == (1, 1 + 24 * 24, 96)
    assert torch.equal(backbone.pos_embed[:, 0], published.pos_embed[:, 0])
    square = published.pos_embed[:, 1:].unflatten(1, (16, 16)).permute(0, 3, 1, 2)
    expected = nn.functional.interpolate(square, size=(24, 24), mode="bicubic").flatten(2).mT
    assert torch.equal(backbone.pos_embed[:, 1:], expected)

    published = randomize(build_classifier("mvitv2_nano", 10, img_size=64))
    backbone = build_mvit("mvitv2_nano", img_size=128)
    report = load_weights(backbone, authors_file(published, tmp_path / "rel.pyth"))
    assert len(report.resized) == 2 * 6
    assert all("rel_pos" in key for key in report.resized)
    ramp = torch.linspace(0, 1, 31)[:, None].expand(-1, 32).clone()
    published.blocks[0].attn.rel_pos_h.data = ramp
    load_weights(backbone, authors_file(published, tmp_path / "ramp.pyth"))
    found = backbone.blocks[0].attn.rel_pos_h.detach()
    assert found.shape == (63, 32)
    assert found[31, 0] == pytest.approx(0.5, abs=1e-6)  # distance 0 stays in the middle
    assert (found[1:, 0] >= found[:-1, 0]).all()


def test_what_was_saved_by_ddp_a_compiler_or_as_an_average_is_found(tmp_path):
    backbone = randomize(build_mvit("mvitv2_nano"))
    state = backbone.state_dict()
    contents = {
        "ddp.pth": {"model": {f"module.{key}": weight for key, weight in state.items()}},
        "compiled.pth": {f"_orig_mod.{key}": weight for key, weight in state.items()},
        "averaged.pth": {
            "model": {key: torch.zeros_like(weight) for key, weight in state.items()},
            "ema": {"n_averaged": torch.tensor(3)} | {f"module.{k}": weight for k, weight in state.items()},
        },
    }
    for name, content in contents.items():
        torch.save(content, tmp_path / name)
        loaded = build_mvit("mvitv2_nano")
        report = load_weights(loaded, tmp_path / name)
        assert len(report.loaded) == len(state)
        assert not report.unused
        for key, weight in loaded.state_dict().items():
            assert torch.equal(weight, state[key]), key
    compiled = torch.compile(build_mvit("mvitv2_nano"))
    assert len(load_weights(compiled, tmp_path / "ddp.pth").loaded) == len(state)


def test_a_file_of_another_variant_changes_nothing_unless_the_user_insists(tmp_path):
    path = authors_file(randomize(build_classifier("mvitv2_t", 10)), tmp_path / "t.pyth")
    model = build_mvit("mvitv2_s")
    before = {key: weight.clone() for key, weight in model.state_dict().items()}
    with pytest.raises(
        InputError, match=r"t.pyth: holds mvitv2_t, .* and fills 5\d% of .* this mvitv2_s: blocks.8"
    ):
        load_weights(model, path)
    for key, weight in model.state_dict().items():
        assert torch.equal(weight, before[key]), key
    report = load_weights(model, path, allow_partial=True)
    assert "blocks.15.norm1.weight" in report.missing
    assert "blocks.8.attn.qkv.weight" in report.unfit
    assert not torch.equal(model.blocks[0].attn.qkv.weight, before["blocks.0.attn.qkv.weight"])


def test_weights_of_half_precision_keep_the_models_precision(tmp_path):
    state = randomize(build_mvit("mvitv2_nano")).half().state_dict()
    save_file(state, tmp_path / "half.safetensors")
    model = build_mvit("mvitv2_nano")
    load_weights(model, tmp_path / "half.safetensors")
    for key, weight in model.state_dict().items():
        assert weight.dtype == torch.float32
        assert torch.equal(weight, state[key].float())


def test_the_report_is_a_table_of_few_lines(tmp_path):
    path = authors_file(randomize(build_classifier("mvitv2_nano", 10)), tmp_path / "nano.pyth")
    assert str(load_weights(build_mvit("mvitv2_nano"), path)).splitlines() == [
        "nano.pyth: mvitv2_nano, classifier, 10 classes (the MViTv2 repository)",
        "loaded                               146  patch_embed 2, blocks 144",
        "not in the file, left at random        8  " + ", ".join(f"scale{n}_norm 2" for n in (2, 3, 4, 5)),
        "in the file alone, not used            4  norm 2, head 2",
    ]


def test_every_variant_is_told_by_its_shapes():
    for name in VARIANTS:
        for dim_mul_in_att in (True, False):
            with torch.device("meta"):
                state = build_mvit(name, dim_mul_in_att=dim_mul_in_att).state_dict()
            assert variant_of(state) == name
            is_own = VARIANTS[name].dim_mul_in_att == dim_mul_in_att
            assert keywords_of(state) == ({} if is_own else {"dim_mul_in_att": dim_mul_in_att})


def test_networks_for_videos_are_refused(tmp_path):
    state = build_mvit("mvitv2_nano").state_dict()
    state["patch_embed.proj.weight"] = torch.zeros(32, 3, 3, 7, 7)
    torch.save({"model_state": state}, tmp_path / "video.pyth")
    with pytest.raises(InputError, match="a network for videos"):
        read_checkpoint(tmp_path / "video.pyth")


def test_a_model_without_an_mvit_is_refused(tmp_path):
    save_file(build_mvit("mvitv2_nano").state_dict(), tmp_path / "nano.safetensors")
    with pytest.raises(InputError, match="a Linear has no MViT inside"):
        load_weights(nn.Linear(2, 2), tmp_path / "nano.safetensors")
