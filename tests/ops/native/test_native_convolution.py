import pytest
import torch
from torch.nn import functional as F

from mvit_det.ops.native.convolution import native_conv3x3
from mvit_det.ops.native.library import load_library

pytestmark = pytest.mark.usefixtures("native")

SHAPES = [(2, 9, 12), (1, 1, 1), (3, 14, 14), (1, 33, 6), (40, 7, 7), (0, 14, 14)]  # N, H, W


# Vectors of 16 floats, if the processor has AVX-512, and of 8 floats.
@pytest.fixture(scope="module", params=["cc", "cc -mno-avx512f"])
def library(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CC", request.param)
        return load_library.__wrapped__("convolution")


def with_gradients(convolve, tensors):
    inputs = [x.clone().requires_grad_() for x in tensors]
    out = convolve(*inputs)
    grad = torch.linspace(-1, 1, out.numel()).view_as(out).to(out)
    return [out, *torch.autograd.grad(out, inputs, grad)]


@pytest.mark.parametrize("channels", [(32, 64), (96, 32)])
@pytest.mark.parametrize("shape", SHAPES)
def test_matches_pytorch(shape, channels, library, monkeypatch):
    monkeypatch.setattr("mvit_det.ops.native.library.load_library", lambda name: library)
    n, *hw = shape
    x, weight, bias = (
        torch.randn(n, channels[0], *hw),
        torch.randn(*channels[::-1], 3, 3),
        torch.randn(channels[1]),
    )
    expected = with_gradients(
        lambda *args: F.conv2d(*args, padding=1), [t.double() for t in (x, weight, bias)]
    )
    results = with_gradients(native_conv3x3, [x, weight, bias])
    for result, exact in zip(results, expected, strict=True):
        torch.testing.assert_close(result.double(), exact, rtol=1e-4, atol=1e-4 * max(1, n))


def test_errors_are_no_larger_than_pytorchs():
    x, weight = torch.randn(1, 256, 40, 41), 0.02 * torch.randn(256, 256, 3, 3)
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    errors = [
        (y - exact).abs().max() for y in (native_conv3x3(x, weight, None), F.conv2d(x, weight, padding=1))
    ]
    assert errors[0] < 2 * errors[1]


def test_only_the_gradients_that_are_needed_are_computed():
    x, weight = torch.randn(1, 32, 5, 6, requires_grad=True), torch.randn(32, 32, 3, 3)
    native_conv3x3(x, weight, None).relu_().sum().backward()
    expected = torch.autograd.grad(F.conv2d(x, weight, padding=1).relu().sum(), x)[0]
    torch.testing.assert_close(x.grad, expected, rtol=1e-4, atol=1e-4)


def test_is_a_valid_operator():
    tensors = [torch.randn(shape, requires_grad=True) for shape in ((1, 32, 4, 5), (64, 32, 3, 3), (64,))]
    torch.library.opcheck(torch.ops.mvit_det.native_conv3x3, tensors)


def test_channels_that_the_kernel_cannot_read_are_refused():
    with pytest.raises(AssertionError, match="16 and 32 channels"):
        native_conv3x3(torch.randn(1, 16, 4, 4), torch.randn(32, 16, 3, 3), None)


def test_an_input_with_other_channels_than_the_weight_is_refused():
    with pytest.raises(AssertionError, match="weight"):
        native_conv3x3(torch.randn(1, 64, 4, 4), torch.randn(32, 32, 3, 3), None)


def test_second_derivatives_match_pytorchs():
    tensors = [torch.randn(1, 32, 5, 6, requires_grad=True), torch.randn(64, 32, 3, 3, requires_grad=True)]

    def penalty_gradients(convolve):
        grads = torch.autograd.grad(convolve(*tensors, None).square().sum(), tensors, create_graph=True)
        return torch.autograd.grad(sum(grad.square().mean() for grad in grads), tensors)

    expected = penalty_gradients(lambda *args: F.conv2d(*args, padding=1))
    torch.testing.assert_close(penalty_gradients(native_conv3x3), expected, rtol=1e-3, atol=1e-1)
