import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mvit_det.ops.norm import normalize, pool_and_normalize

pytestmark = pytest.mark.usefixtures("few_programs")


@pytest.fixture
def few_programs(kernels, monkeypatch):
    """Make each program of a backward pass loop over several tiles."""
    for module in ("norm", "pooling"):
        monkeypatch.setattr(f"mvit_det.ops.triton.{module}.MAX_PROGRAMS", 2)


def assert_matches_pytorch(out, x, layers, function, dtype):
    """Compare an output and its gradients with those of a function in float64.

    ``layers`` hold the parameters that the function uses.
    """
    limit = {torch.float32: 1e-5, torch.float16: 4e-3}[dtype]
    parameters = [parameter for layer in layers for parameter in layer.parameters()]
    upstream = torch.randn(out.shape)
    grads = torch.autograd.grad(out, [x, *parameters], upstream.to(out.dtype))
    exact_x = x.detach().double().requires_grad_()
    for layer in layers:
        layer.double()
    exact = function(exact_x)
    exact_parameters = [parameter for layer in layers for parameter in layer.parameters()]
    exact_grads = torch.autograd.grad(exact, [exact_x, *exact_parameters], upstream.double())
    for a, b in zip([out, *grads], [exact, *exact_grads], strict=True):
        assert ((a - b).norm() / b.norm()).item() < limit


def random_norm(channels):
    norm = nn.LayerNorm(channels, eps=1e-6)
    nn.init.normal_(norm.weight, 1, 0.5)
    nn.init.normal_(norm.bias)
    return norm


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("shape", [(5, 7, 24), (1, 1, 96), (1030, 8), (3, 2500)])
def test_layer_norm_matches_pytorch(shape, dtype):
    torch.manual_seed(0)
    x = (3 * torch.randn(shape) + 1).to(dtype).requires_grad_()
    norm = random_norm(shape[-1])
    out = normalize(norm, x)
    assert out.dtype == dtype
    assert_matches_pytorch(out, x, [norm], norm, dtype)


def test_layer_norm_by_hand():
    norm = nn.LayerNorm(3, eps=1e-12)
    norm.bias.data.fill_(5.0)
    out = normalize(norm, torch.tensor([[1.0, 2.0, 3.0]]))
    torch.testing.assert_close(out, torch.tensor([[-(1.5**0.5), 0.0, 1.5**0.5]]) + 5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(
    ("shape", "kernel", "stride"),
    [
        ((2, 5, 7, 2, 24), (3, 3), 1),
        ((1, 9, 6, 3, 16), (3, 3), 4),
        ((2, 6, 5, 1, 96), (5, 3), 2),
        ((1, 1, 1, 2, 8), (3, 3), 2),
        ((2, 18, 17, 1, 72), (3, 3), 8),
    ],
)
def test_pooling_with_norm_matches_pytorch(shape, kernel, stride, dtype):
    torch.manual_seed(0)
    channels = shape[-1]
    x = torch.randn(shape).to(dtype).requires_grad_()
    padding = (kernel[0] // 2, kernel[1] // 2)
    conv = nn.Conv2d(channels, channels, kernel, stride, padding, groups=channels, bias=False)
    norm = random_norm(channels)

    def pool_each_head(x):
        heads = [conv(head.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) for head in x.unbind(3)]
        return F.layer_norm(torch.stack(heads, dim=3), (channels,), norm.weight, norm.bias, norm.eps)

    out = pool_and_normalize(x, conv, norm)
    assert out.dtype == dtype
    assert_matches_pytorch(out, x, [conv, norm], pool_each_head, dtype)


def test_layers_without_a_kernel_are_called():
    x = torch.randn(2, 4, 8)
    for layer in (nn.GELU(), nn.RMSNorm(8), nn.LayerNorm(8, elementwise_affine=False)):
        assert torch.equal(normalize(layer, x), layer(x))
