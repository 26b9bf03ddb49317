"""Random weights, loaded from files like those of each publisher."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mvit_det import build_classifier, build_mvit
from mvit_det.errors import InputError
from mvit_det.weights import load_weights, read_checkpoint
from mvit_det.weights.formats import FORMATS


def write_published(classifier, path, publisher="the MViTv2 repository"):
    """Write a classifier as the training code of the MViTv2 repository or of SlowFast does."""
    config = "TRAIN:\n  DATASET: imagenet\n  BATCH_SIZE: 256\nSOLVER:\n  MAX_EPOCH: 300\n"
    weights = FORMATS[publisher].from_our_names(classifier.state_dict())
    torch.save({"epoch": 299, "model_state": weights, "optimizer_state": {"state": {}}, "cfg": config}, path)
    return path


def assert_backbone(model, weights):
    """Assert that a backbone holds exactly these weights, except for the norms of its outputs."""
    own = {key: weight for key, weight in model.state_dict().items() if not key.startswith("scale")}
    assert own
    for key, weight in own.items():
        assert torch.equal(weight, weights[key]), key


@pytest.mark.parametrize(
    ("variant", "options", "publisher"),
    [
        ("mvitv2_t", {}, "the MViTv2 repository"),
        ("mvitv2_nano", {"dim_mul_in_att": False}, "the MViTv2 repository"),
        ("mvitv2_nano", {"class_token": True}, "the MViTv2 repository"),
        ("mvitv2_nano", {"use_abs_pos": True}, "SlowFast"),
        ("mvitv1_t", {}, "SlowFast"),
    ],
)
def test_a_published_classifier_fills_a_classifier_and_a_backbone(
    variant, options, publisher, tmp_path, randomize
):
    published = randomize(build_classifier(variant, num_classes=10, **options))
    path = write_published(published, tmp_path / "published.pyth", publisher)
    checkpoint = read_checkpoint(path)
    assert (checkpoint.kind, checkpoint.num_classes) == ("classifier", 10)
    assert checkpoint.variant == variant
    assert checkpoint.backbone_keywords == {k: v for k, v in options.items() if k == "dim_mul_in_att"}
    assert checkpoint.format == publisher

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


def test_positions_of_another_size_are_resized(tmp_path, randomize):
    keywords = {"img_size": 64, "pretrain_img_size": 64, "use_abs_pos": True}
    published = randomize(build_classifier("mvitv2_nano", 10, class_token=True, **keywords))
    backbone = build_mvit("mvitv2_nano", img_size=128, use_abs_pos=True)
    report = load_weights(backbone, write_published(published, tmp_path / "small.pyth"))
    assert len(report.resized) == 1 + 2 * 6
    assert all("rel_pos" in key or key == "pos_embed" for key in report.resized)
    assert not report.shape_mismatch


def test_weights_of_ddp_of_torch_compile_and_averaged_ones_load(tmp_path, randomize):
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


def test_a_file_of_another_variant_changes_nothing_unless_allow_partial(tmp_path, randomize):
    path = write_published(randomize(build_classifier("mvitv2_t", 10)), tmp_path / "t.pyth")
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
    assert "blocks.8.attn.qkv.weight" in report.shape_mismatch
    assert not torch.equal(model.blocks[0].attn.qkv.weight, before["blocks.0.attn.qkv.weight"])


def test_half_precision_weights_are_converted_to_the_models_dtype(tmp_path, randomize):
    state = randomize(build_mvit("mvitv2_nano")).half().state_dict()
    save_file(state, tmp_path / "half.safetensors")
    model = build_mvit("mvitv2_nano")
    load_weights(model, tmp_path / "half.safetensors")
    for key, weight in model.state_dict().items():
        assert weight.dtype == torch.float32
        assert torch.equal(weight, state[key].float())


def test_the_report_is_a_short_table(tmp_path, randomize):
    path = write_published(randomize(build_classifier("mvitv2_nano", 10)), tmp_path / "nano.pyth")
    assert str(load_weights(build_mvit("mvitv2_nano"), path)).splitlines() == [
        "nano.pyth: mvitv2_nano, classifier, 10 classes (the MViTv2 repository)",
        "loaded                               146  patch_embed 2, blocks 144",
        "missing in the file, unchanged         8  " + ", ".join(f"scale{n}_norm 2" for n in (2, 3, 4, 5)),
        "only in the file, not used             4  norm 2, head 2",
    ]


def test_a_model_without_an_mvit_is_refused(tmp_path):
    save_file(build_mvit("mvitv2_nano").state_dict(), tmp_path / "nano.safetensors")
    with pytest.raises(InputError, match="a Linear contains no MViT"):
        load_weights(nn.Linear(2, 2), tmp_path / "nano.safetensors")
