"""Layers that a user hooks, replaces or quantizes are called, whatever is fused otherwise."""

from collections import Counter

import pytest
import torch
from torch import nn

from mvit_det import build_classifier, build_mvit

RECOMPUTE = ["none", "cheap", "block"]
IMAGES = torch.linspace(-1, 1, 2 * 3 * 64 * 50).reshape(2, 3, 64, 50)


def build(recompute="none", **keywords):
    torch.manual_seed(0)
    return build_mvit("mvitv2_nano", recompute=recompute, rel_pos_zero_init=False, **keywords)


def run(model, with_gradients=True):
    with torch.set_grad_enabled(with_gradients):
        return torch.cat([output.flatten() for output in model(IMAGES).values()])


@pytest.mark.parametrize("with_gradients", [True, False])
@pytest.mark.parametrize("recompute", RECOMPUTE)
@pytest.mark.parametrize("training", [True, False])
def test_forward_hooks_of_every_module_run_once(recompute, with_gradients, training):
    model = build(recompute).train(training)
    expected = run(model, with_gradients)
    calls = Counter()
    for name, module in model.named_modules():
        module.register_forward_hook(lambda *_, name=name: calls.update([name]))
    torch.testing.assert_close(run(model, with_gradients), expected)
    for name, _ in model.named_modules():
        is_shared = name.endswith("drop_path")  # by the attention and the MLP
        is_container = name == "blocks"
        assert calls[name] == (0 if is_container else 2 if is_shared else 1), name


def test_forward_hooks_of_every_module_run_in_a_classifier_with_a_class_token():
    model = build_classifier("mvitv2_nano", num_classes=3, class_token=True).eval()
    calls = Counter()
    for name, module in model.named_modules():
        module.register_forward_hook(lambda *_, name=name: calls.update([name]))
    model(IMAGES)
    assert {name for name, _ in model.named_modules()} - set(calls) == {"blocks"}


@pytest.mark.parametrize("layer", ["attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2", "proj", "norm1", "norm2"])
@pytest.mark.parametrize("recompute", RECOMPUTE)
def test_a_forward_hook_that_changes_an_output_is_respected(recompute, layer):
    model = build(recompute)
    expected = run(model)
    hook = model.blocks[1].get_submodule(layer).register_forward_hook(lambda module, inputs, out: 2 * out)
    assert not torch.allclose(run(model), expected)
    hook.remove()
    assert torch.equal(run(model), expected)


@pytest.mark.parametrize("recompute", RECOMPUTE)
def test_full_backward_hooks_run(recompute):
    model = build(recompute)
    names = ["attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2", "norm1", "norm2"]
    calls = Counter()
    for name in names:
        layer = model.blocks[0].get_submodule(name)
        layer.register_full_backward_hook(lambda *_, name=name: calls.update([name]))
    run(model).square().sum().backward()
    assert set(calls) == set(names)


@pytest.mark.parametrize("recompute", RECOMPUTE)
def test_lora_changes_the_output_and_trains(recompute):
    peft = pytest.importorskip("peft")
    expected = run(build(recompute))
    config = peft.LoraConfig(r=2, target_modules=["qkv", "proj", "fc1", "fc2"], init_lora_weights=True)
    # The patch embedding is called "proj" too, and is left out.
    config.exclude_modules = ["patch_embed.proj"]
    model = peft.get_peft_model(build(recompute), config)
    torch.testing.assert_close(run(model), expected)  # LoRA starts at zero

    adapters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    targets = {name.split(".lora_")[0].rpartition(".")[2] for name in adapters}
    assert targets == {"qkv", "proj", "fc1", "fc2"}
    optimizer = torch.optim.SGD(adapters.values(), lr=0.1)
    before = {name: p.detach().clone() for name, p in adapters.items()}
    weights = torch.randn_like(expected)  # the outputs are normalized: their plain sum would be constant
    for _ in range(2):  # in the first step, only the second matrix of each pair has a gradient
        optimizer.zero_grad()
        (run(model) * weights).sum().backward()
        optimizer.step()
    for name, parameter in adapters.items():
        assert not torch.equal(parameter, before[name]), name
    assert not torch.allclose(run(model), expected)


@pytest.mark.parametrize("recompute", RECOMPUTE)
def test_a_layer_of_a_subclass_is_called(recompute):
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    for path in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"):
        model = build(recompute)
        expected = run(model)
        parent, _, name = path.rpartition(".")
        layer = model.blocks[0].get_submodule(path)
        replacement = Doubled(layer.in_features, layer.out_features)
        replacement.load_state_dict(layer.state_dict())
        setattr(model.blocks[0].get_submodule(parent), name, replacement)
        assert not torch.allclose(run(model), expected), path


def test_a_pooling_convolution_of_a_subclass_is_called():
    class Doubled(nn.Conv2d):
        def forward(self, x):
            return 2 * super().forward(x)

    model = build()
    expected = run(model)
    conv = model.blocks[2].attn.pool_q
    conv.__class__ = Doubled
    model.blocks[2].attn.norm_q = nn.Identity()  # which would undo the doubling
    changed = run(model)
    conv.__class__ = nn.Conv2d
    assert not torch.allclose(changed, run(model))
    assert not torch.allclose(changed, expected)


@pytest.mark.parametrize("recompute", RECOMPUTE)
@pytest.mark.filterwarnings("ignore")  # PyTorch announces the successor of this function
def test_dynamic_int8_quantization_of_the_linear_layers(recompute):
    model = build(recompute).eval()
    expected = run(model, with_gradients=False)
    quantized = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    kinds = Counter(type(module) for module in quantized.modules())
    assert kinds[nn.Linear] == 0
    assert kinds[torch.ao.nn.quantized.dynamic.Linear] > 4 * len(model.blocks)
    out = run(quantized, with_gradients=False)
    assert not torch.equal(out, expected)
    assert (out - expected).norm() < 0.1 * expected.norm()


@pytest.mark.parametrize("recompute", RECOMPUTE)
def test_a_parametrization_is_computed_once_per_call(recompute):
    class Count(nn.Module):
        calls = 0

        def forward(self, weight):
            Count.calls += 1
            return weight

    for path in ("attn.qkv", "attn.pool_k", "mlp.fc1", "norm1"):
        model = build(recompute)
        nn.utils.parametrize.register_parametrization(model.blocks[0].get_submodule(path), "weight", Count())
        Count.calls = 0
        run(model, with_gradients=False)
        assert Count.calls == 1, path


def test_activations_that_work_in_place_have_the_same_gradients():
    def gradients(recompute):
        model = build(recompute, act_layer=lambda: nn.SiLU(inplace=True))
        run(model).square().sum().backward()
        return [parameter.grad for parameter in model.parameters()]

    for a, b in zip(gradients("cheap"), gradients("none"), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
