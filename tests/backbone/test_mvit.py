import copy
import subprocess
import sys

import pytest
import torch

from mvit_det import build_mvit

SIZES = [(32, 32), (64, 64), (45, 97), (130, 67)]


SMALL_V1 = {"embed_dim": 32, "depth": 6, "last_block_indexes": (0, 2, 4, 5)}


def with_biases(variant, **keywords):
    torch.manual_seed(0)
    model = build_mvit(variant, **keywords).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    return model


@pytest.fixture(scope="module")
def nano():
    return with_biases("mvitv2_nano", rel_pos_zero_init=False, use_abs_pos=True)


@pytest.fixture(scope="module")
def small_v1():
    return with_biases("mvitv1_t", **SMALL_V1)


@pytest.fixture(params=["nano", "small_v1"])
def either(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_outputs_have_the_strides_of_the_stages_rounded_up(either, height, width):
    outputs = either(torch.randn(2, 3, height, width))
    widths = [32, 64, 128, 256] if either.blocks[0].proj is None else [64, 128, 256, 256]
    for stage, (name, output) in enumerate(outputs.items()):
        stride = 4 * 2**stage
        assert name == f"scale{stage + 2}"
        assert output.shape == (2, widths[stage], -(-height // stride), -(-width // stride))
        assert either.out_strides[name] == stride
        assert either.out_channels[name] == output.shape[1]


def test_a_side_below_32_px_is_refused(nano):
    with pytest.raises(ValueError, match="31 x 64 px: both sides must be at least 32"):
        nano(torch.zeros(1, 3, 31, 64))


@pytest.mark.parametrize(("height", "width"), [(45, 97), (260, 36)])
def test_a_batch_equals_its_images(either, height, width):
    images = torch.randn(3, 3, height, width)
    together = either(images)
    for index, image in enumerate(images):
        alone = either(image[None])
        for name in together:
            torch.testing.assert_close(together[name][index], alone[name][0])


@pytest.mark.parametrize("name", ["mvitv2_nano", "mvitv2_t", "mvitv1_t"])
def test_gradients_reach_every_parameter(name):
    torch.manual_seed(0)
    model = build_mvit(name, drop_path_rate=0.0)
    outputs = model(torch.randn(1, 3, 70, 90))
    # The plain sum of a norm's output does not depend on what comes in.
    sum((output * torch.randn_like(output)).sum() for output in outputs.values()).backward()
    for key, parameter in model.named_parameters():
        assert torch.isfinite(parameter.grad).all(), key
        if not key.endswith("norm_k.bias"):  # moves all scores alike, but for padded windows
            assert parameter.grad.abs().max() > 0, key


def test_chosen_outputs_are_those_of_the_whole(nano):
    chosen = build_mvit("mvitv2_nano", use_abs_pos=True, out_features=("scale3", "scale5")).eval()
    missing = chosen.load_state_dict(nano.state_dict(), strict=False).missing_keys
    assert missing == []
    images = torch.randn(1, 3, 64, 96)
    outputs, whole = chosen(images), nano(images)
    assert list(outputs) == ["scale3", "scale5"]
    for name, output in outputs.items():
        assert torch.equal(output, whole[name])


def test_unknown_output_names_the_nearest():
    with pytest.raises(ValueError, match="'scale6': did you mean 'scale"):
        build_mvit("mvitv2_nano", out_features=("scale6",))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near_to_float32(either, dtype):
    images = torch.randn(1, 3, 64, 90)
    exact, rounded = either(images), copy.deepcopy(either).to(dtype)(images.to(dtype))
    for name, output in rounded.items():
        assert output.dtype == dtype
        error = (output.float() - exact[name]).norm() / exact[name].norm()
        assert error < 0.05, name


def test_compiles_without_a_graph_break_and_once_for_all_sizes(either):
    torch.compiler.reset()
    compiled = torch.compile(either, backend="aot_eager", fullgraph=True, dynamic=True)
    compiled(torch.randn(1, 3, 64, 96))
    for height, width in ((70, 51), (224, 224), (257, 130)):
        images = torch.randn(1, 3, height, width)
        with torch.compiler.set_stance("fail_on_recompile"):
            outputs = compiled(images)
        expected = either(images)
        for name in expected:
            torch.testing.assert_close(outputs[name], expected[name])


@pytest.mark.parametrize("attention", ["reference", "sdpa", "tiled"])
def test_the_implementations_of_attention_agree(nano, attention):
    other = build_mvit("mvitv2_nano", use_abs_pos=True, attention=attention).eval()
    other.load_state_dict(nano.state_dict())
    images = torch.randn(2, 3, 130, 67)
    outputs, expected = other(images), nano(images)
    for name in expected:
        torch.testing.assert_close(outputs[name], expected[name], rtol=1e-5, atol=1e-5)


def test_an_unknown_attention_names_the_nearest():
    with pytest.raises(ValueError, match="unknown attention 'flash': .*native, reference, sdpa, tiled"):
        build_mvit("mvitv2_nano", attention="flash")


def test_backbone_needs_torch_alone():
    code = """
import sys
for name in ("torchvision", "detectron2", "timm", "triton", "fvcore", "lightning", "cv2", "pycocotools"):
    sys.modules[name] = None
import torch, mvit_det
print(mvit_det.build_mvit("mvitv2_nano")(torch.zeros(1, 3, 32, 32))["scale5"].shape)
assert "torch._dynamo" not in sys.modules  # the compiler, which takes seconds
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "torch.Size([1, 256, 1, 1])" in run.stdout
