import copy
import weakref
from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from mvit_det import build_mvit
from mvit_det.ops.checkpointing import activate, get_recomputation
from mvit_det.ops.linear import linear, split_linear
from mvit_det.ops.norm import normalize


def backward(model, images, precision=None):
    with torch.autocast("cpu", precision, enabled=precision is not None):
        sum(output.float().square().sum() for output in model(images).values()).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("dim_mul_in_att", [True, False])
@pytest.mark.parametrize("precision", [None, torch.bfloat16])
@pytest.mark.parametrize("recompute", ["cheap", "block"])
def test_gradients_do_not_depend_on_recompute(recompute, precision, dim_mul_in_att):
    torch.manual_seed(0)
    plain = build_mvit("mvitv2_nano", rel_pos_zero_init=False, dim_mul_in_att=dim_mul_in_att)
    recomputing = build_mvit("mvitv2_nano", recompute=recompute, dim_mul_in_att=dim_mul_in_att)
    recomputing.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 64, 50)
    expected = backward(plain, images, precision)
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if precision is None else {"rtol": 0.1, "atol": 0.1}
    for name, grad in backward(recomputing, images, precision).items():
        torch.testing.assert_close(grad, expected[name], msg=name, **tolerance)


def test_recompute_saves_memory():
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


def norm_and_linear(norm, layer, x, recompute, num_parts=1):
    return split_linear(layer, normalize(norm, x, recompute), num_parts)


def saved_tensors(function):
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        out = function()
    return saved, out


def test_a_linear_layer_keeps_the_input_of_the_norm_before_it():
    norm, layer, x = nn.LayerNorm(4), nn.Linear(4, 6), torch.randn(3, 4, requires_grad=True)
    for recompute in (False, True):
        normed = normalize(norm, x, recompute)
        saved, _ = saved_tensors(lambda normed=normed: linear(layer, normed))
        pointers = {tensor.data_ptr() for tensor in saved}
        assert (normed.data_ptr() in pointers) != recompute
        assert (x.data_ptr() in pointers) == recompute


def test_a_linear_layer_keeps_the_input_of_the_activation_before_it():
    layer, x = nn.Linear(4, 6), torch.randn(3, 4, requires_grad=True)
    hidden = activate(nn.GELU(), x, recompute=True)
    saved, out = saved_tensors(lambda: linear(layer, hidden))
    assert hidden.data_ptr() not in {tensor.data_ptr() for tensor in saved}
    expected = torch.autograd.grad(layer(nn.functional.gelu(x)).square().sum(), [x, layer.weight])
    for a, b in zip(torch.autograd.grad(out.square().sum(), [x, layer.weight]), expected, strict=True):
        torch.testing.assert_close(a, b)


def test_with_the_triton_norm_a_linear_layer_always_keeps_its_input(kernels):
    norm, layer, x = nn.LayerNorm(8), nn.Linear(8, 6, bias=False), torch.randn(4, 8, requires_grad=True)
    saved, _ = saved_tensors(lambda: norm_and_linear(norm, layer, x, recompute=False))
    expected = {y.data_ptr() for y in (x, layer.weight, norm.weight, norm.bias)}
    assert {y.data_ptr() for y in saved} == expected


@pytest.mark.parametrize(
    "activation",
    [nn.Dropout(), nn.PReLU(), nn.ReLU(inplace=True), nn.SiLU(inplace=True), nn.Sequential(nn.GELU())],
)
def test_other_activations_are_not_recomputed(activation):
    x = torch.randn(3, 4, requires_grad=True) * 1  # not a leaf, which could not be modified in place
    assert get_recomputation(activate(activation, x, recompute=True)) is None


@pytest.mark.parametrize("norm", [nn.RMSNorm(4), nn.Sequential(nn.LayerNorm(4))])
def test_other_norms_are_not_recomputed(norm):
    layer, x = nn.Linear(4, 6), torch.randn(3, 4)
    assert get_recomputation(normalize(norm, x, recompute=True)) is None
    norm_and_linear(norm, layer, x, recompute=True)[0].square().sum().backward()
    assert all(parameter.grad.any() for parameter in norm.parameters())


def test_records_are_dropped_with_their_tensors_and_are_not_saved(tmp_path):
    x = torch.randn(3, 4, requires_grad=True)
    normed = normalize(nn.LayerNorm(4), x, recompute=True)
    torch.save(normed, tmp_path / "normed.pth")
    assert torch.equal(torch.load(tmp_path / "normed.pth"), normed)
    references = [weakref.ref(normed), weakref.ref(get_recomputation(normed).function)]
    del normed
    assert [reference() for reference in references] == [None, None]


def test_a_tensor_modified_in_place_is_not_recomputed():
    x = torch.randn(3, 4, requires_grad=True)
    normed = normalize(nn.LayerNorm(4), x, recompute=True)
    assert get_recomputation(normed) is not None
    normed.mul_(2)
    assert get_recomputation(normed) is None


def leaves_as_it_is(norm, layer):
    pass


def doubles_gradients(norm, layer):
    norm.weight.register_hook(lambda grad: 2 * grad)


def freezes_the_norm(norm, layer):
    norm.requires_grad_(False)


def freezes_the_layer(norm, layer):
    layer.weight.requires_grad_(False)


def replaces_parameters_by_attributes(norm, layer):
    """As a replica of DataParallel or FSDP does."""
    weight, bias = norm.weight, norm.bias
    del norm.weight, norm.bias
    norm.weight, norm.bias = 2 * weight, 2 * bias


@pytest.mark.parametrize("is_contiguous", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "change",
    [
        leaves_as_it_is,
        doubles_gradients,
        freezes_the_norm,
        freezes_the_layer,
        replaces_parameters_by_attributes,
    ],
)
def test_gradients_of_a_norm_and_a_linear_layer(change, bias, is_contiguous):
    def gradients(recompute):
        torch.manual_seed(0)
        norm, layer = nn.LayerNorm(4), nn.Linear(4, 6, bias=bias)
        x = torch.randn(2, 3, 4) if is_contiguous else torch.randn(2, 4, 3).mT
        parameters = [x.requires_grad_(), *norm.parameters(), *layer.parameters()]
        change(norm, layer)
        out = norm_and_linear(norm, layer, x, recompute, num_parts=3)
        parameters = [parameter for parameter in parameters if parameter.requires_grad]
        return torch.autograd.grad(sum((n + 1) * y.square().sum() for n, y in enumerate(out)), parameters)

    for a, b in zip(gradients(True), gradients(False), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_gradients_of_a_functional_call():
    class NormAndLinear(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.layer = nn.LayerNorm(4), nn.Linear(4, 6)

        def forward(self, x):
            return norm_and_linear(self.norm, self.layer, x, recompute=True)[0]

    module, x = NormAndLinear(), torch.randn(3, 4)
    weight = torch.full((4,), 5.0, requires_grad=True)
    out = torch.func.functional_call(module, {"norm.weight": weight}, (x,))
    gradients = torch.autograd.grad(out.sum(), [module.layer.weight, weight])
    out = module.layer(nn.functional.layer_norm(x, (4,), weight, module.norm.bias))
    for a, b in zip(gradients, torch.autograd.grad(out.sum(), [module.layer.weight, weight]), strict=True):
        torch.testing.assert_close(a, b)


def test_a_norm_modified_before_the_backward_pass_is_an_error():
    norm, layer, x = nn.LayerNorm(4), nn.Linear(4, 6), torch.randn(3, 4, requires_grad=True)
    (out,) = norm_and_linear(norm, layer, x, recompute=True)
    with torch.no_grad():
        norm.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


def test_autocast_during_the_backward_pass_changes_nothing():
    norm, layer, x = nn.LayerNorm(4), nn.Linear(4, 6), torch.randn(3, 4, requires_grad=True)
    gradients = []
    for enabled in (False, True):
        out = norm_and_linear(norm, layer, x, recompute=True)[0].square().sum()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            gradients.append(torch.autograd.grad(out, x)[0])
    assert torch.equal(*gradients)


def test_gradients_inside_an_outer_checkpoint():
    norm, layer, x = nn.LayerNorm(4), nn.Linear(4, 6), torch.randn(3, 4, requires_grad=True)
    function = partial(norm_and_linear, norm, layer, recompute=True)
    (out,) = checkpoint(function, x, use_reentrant=False)
    expected = torch.autograd.grad(layer(norm(x)).square().sum(), [x, layer.weight])
    for a, b in zip(torch.autograd.grad(out.square().sum(), [x, layer.weight]), expected, strict=True):
        torch.testing.assert_close(a, b)


def test_flops_are_counted_with_recompute():
    model = build_mvit("mvitv2_nano", recompute="cheap")
    with FlopCounterMode(display=False) as counter:
        backward(model, torch.randn(1, 3, 64, 64))
    assert counter.get_total_flops() > 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_recompute_in_other_dtypes(dtype):
    model = build_mvit("mvitv2_nano", recompute="cheap").to(dtype)
    for name, grad in backward(model, torch.randn(1, 3, 64, 64, dtype=dtype)).items():
        assert grad.dtype == dtype, name
        assert grad.isfinite().all(), name


def test_use_act_checkpoint_recomputes_blocks():
    assert build_mvit("mvitv2_nano", use_act_checkpoint=True).recompute == "block"
    with pytest.raises(ValueError, match="unknown recompute 'blocks': did you mean 'block'"):
        build_mvit("mvitv2_nano", recompute="blocks")


def test_a_deep_copy_has_gradients_of_its_own():
    model = build_mvit("mvitv2_nano", recompute="cheap")
    other = copy.deepcopy(model)
    backward(other, torch.randn(1, 3, 64, 64))
    assert all(parameter.grad is None for parameter in model.parameters())
