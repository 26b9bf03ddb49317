import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mvit_det import build_mvit
from mvit_det.ops.checkpointing import linears


def backward(model, images, precision=None):
    with torch.autocast("cpu", precision, enabled=precision is not None):
        sum(output.float().square().sum() for output in model(images).values()).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("dim_mul_in_att", [True, False])
@pytest.mark.parametrize("precision", [None, torch.bfloat16])
@pytest.mark.parametrize("recompute", ["cheap", "block"])
def test_the_gradients_stay(recompute, precision, dim_mul_in_att):
    torch.manual_seed(0)
    plain = build_mvit("mvitv2_nano", rel_pos_zero_init=False, dim_mul_in_att=dim_mul_in_att)
    recomputing = build_mvit("mvitv2_nano", recompute=recompute, dim_mul_in_att=dim_mul_in_att)
    recomputing.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 64, 50)
    expected = backward(plain, images, precision)
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if precision is None else {"rtol": 0.1, "atol": 0.1}
    for name, grad in backward(recomputing, images, precision).items():
        torch.testing.assert_close(grad, expected[name], msg=name, **tolerance)


def test_what_is_kept_shrinks():
    def kept(recompute):
        model = build_mvit("mvitv2_nano", recompute=recompute)
        parameters = {parameter.data_ptr() for parameter in model.parameters()}
        storages = {}

        def pack(x):
            storage = x.untyped_storage()
            if storage.data_ptr() not in parameters:
                storages[storage.data_ptr()] = storage.nbytes()
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            outputs = model(torch.randn(1, 3, 128, 128))
        assert outputs
        return sum(storages.values())

    assert kept("block") < 0.5 * kept("cheap") < 0.4 * kept("none")


def test_a_frozen_norm_and_layers_without_bias():
    torch.manual_seed(0)
    norm = nn.LayerNorm(4)
    norm.weight.requires_grad_(False)
    x = torch.randn(3, 5, 4, requires_grad=True)
    weights = [torch.randn(2, 4, requires_grad=True), torch.randn(6, 4, requires_grad=True)]
    bias = torch.randn(6, requires_grad=True)
    wanted = [x, *weights, bias, norm.bias]

    def gradients(recompute):
        first, second = linears(norm, x, (weights[0], None), (weights[1], bias), recompute=recompute)
        return torch.autograd.grad(first.square().sum() + second.square().sum(), wanted)

    for a, b in zip(gradients(True), gradients(False), strict=True):
        torch.testing.assert_close(a, b)


def test_where_our_kernel_normalises_its_input_alone_is_kept(kernels):
    norm, x = nn.LayerNorm(8), torch.randn(4, 8, requires_grad=True)
    weight, kept = torch.randn(6, 8, requires_grad=True), []
    with torch.autograd.graph.saved_tensors_hooks(lambda y: kept.append(y) or y, lambda y: y):
        linears(norm, x, (weight, None), recompute=False)
    assert {y.data_ptr() for y in kept} == {y.data_ptr() for y in (x, weight, norm.weight, norm.bias)}


def test_an_input_that_is_not_contiguous():
    x = torch.randn(2, 4, 3, 5).permute(0, 2, 3, 1).requires_grad_()
    norm, weight = nn.LayerNorm(4), torch.randn(6, 4, requires_grad=True)
    gradients = [
        torch.autograd.grad(linears(norm, x, (weight, None), recompute=recompute)[0].square().sum(), x)[0]
        for recompute in (True, False)
    ]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_model_in_another_dtype(dtype):
    model = build_mvit("mvitv2_nano", recompute="cheap").to(dtype)
    for name, grad in backward(model, torch.randn(1, 3, 64, 64, dtype=dtype)).items():
        assert grad.dtype == dtype, name
        assert grad.isfinite().all(), name


def test_the_keyword_of_detectron2_recomputes_blocks():
    assert build_mvit("mvitv2_nano", use_act_checkpoint=True).recompute == "block"
    with pytest.raises(ValueError, match="unknown value of recompute 'blocks': did you mean 'block'"):
        build_mvit("mvitv2_nano", recompute="blocks")


def test_a_copy_that_recomputes_is_trained_alone():
    model = build_mvit("mvitv2_nano", recompute="cheap")
    other = copy.deepcopy(model)
    backward(other, torch.randn(1, 3, 64, 64))
    assert all(parameter.grad is None for parameter in model.parameters())


def doubles_gradients(norm):
    norm.weight.register_hook(lambda grad: 2 * grad)


def freezes(norm):
    norm.weight.requires_grad_(False)


def has_attributes(norm):
    """As in a replica of DataParallel, or in FSDP."""
    weight, bias = norm.weight, norm.bias
    del norm.weight, norm.bias
    norm.weight, norm.bias = 2 * weight, 2 * bias


@pytest.mark.parametrize("change", [doubles_gradients, freezes, has_attributes])
def test_a_norm_that_is_changed(change):
    def gradients(recompute):
        torch.manual_seed(0)
        norm, x = nn.LayerNorm(4), torch.randn(3, 4, requires_grad=True)
        parameters = [norm.weight, norm.bias]
        change(norm)
        layers = [(torch.randn(6, 4, requires_grad=True), None) for _ in range(2)]
        out = linears(norm, x, *layers, recompute=recompute)
        wanted = [y for y in (x, *parameters, layers[0][0], layers[1][0]) if y.requires_grad]
        return torch.autograd.grad(sum(y.square().sum() for y in out), wanted)

    for a, b in zip(gradients(True), gradients(False), strict=True):
        torch.testing.assert_close(a, b)


def test_weights_for_one_call():
    norm, x, weight = nn.LayerNorm(4), torch.randn(3, 4), torch.randn(6, 4, requires_grad=True)
    mlp = nn.Module()
    mlp.norm = norm
    mlp.forward = lambda: linears(norm, x, (weight, None), recompute=True)[0]
    swapped = {"norm.weight": torch.full((4,), 5.0, requires_grad=True)}
    out = torch.func.functional_call(mlp, swapped, ())
    found = torch.autograd.grad(out.sum(), [weight, swapped["norm.weight"]])
    out = nn.functional.layer_norm(x, (4,), swapped["norm.weight"], norm.bias) @ weight.mT
    for a, b in zip(found, torch.autograd.grad(out.sum(), [weight, swapped["norm.weight"]]), strict=True):
        torch.testing.assert_close(a, b)


def test_a_norm_that_is_changed_before_the_backward_pass():
    norm, x, weight = nn.LayerNorm(4), torch.randn(3, 4, requires_grad=True), torch.randn(6, 4)
    (out,) = linears(norm, x, (weight, None), recompute=True)
    with torch.no_grad():
        norm.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


def test_a_backward_pass_inside_of_autocast():
    norm, x = nn.LayerNorm(4), torch.randn(3, 4, requires_grad=True)
    layers = [(torch.randn(6, 4), None) for _ in range(2)]
    found = []
    for is_inside in (False, True):
        out = sum(y.square().sum() for y in linears(norm, x, *layers, recompute=True))
        with torch.autocast("cpu", torch.bfloat16, enabled=is_inside):
            found.append(torch.autograd.grad(out, x)[0])
    assert torch.equal(*found)


def test_a_norm_made_of_layers():
    norm, x = nn.Sequential(nn.LayerNorm(4)), torch.randn(3, 4)
    (out,) = linears(norm, x, (torch.randn(6, 4), None), recompute=True)
    out.square().sum().backward()
    assert norm[0].weight.grad.any()


def test_a_counter_of_operations_hooks_what_is_computed_again():
    model = build_mvit("mvitv2_nano", recompute="cheap")
    with FlopCounterMode(display=False) as counter:
        backward(model, torch.randn(1, 3, 64, 64))
    assert counter.get_total_flops() > 0


def test_a_bias_that_is_a_flag():
    norm = nn.RMSNorm(4)
    norm.bias = False
    (out,) = linears(norm, torch.randn(3, 4), (torch.randn(6, 4), None), recompute=True)
    out.square().sum().backward()
    assert norm.weight.grad.any()
