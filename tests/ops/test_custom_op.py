"""Our kernels as PyTorch operators, which cannot be differentiated in forward mode."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import forward_ad

from mvit_det.ops.convolution import conv2d
from mvit_det.ops.native.convolution import native_conv3x3
from mvit_det.ops.native.roi_align import native_roi_align
from tests.ops.attention_cases import attend, inputs

X, WEIGHT = torch.ones(1, 32, 5, 6), torch.ones(32, 32, 3, 3)
BOX, ZERO = torch.tensor([[0.0, 0, 4, 4]]), torch.zeros(1, dtype=torch.int64)


def attention(implementation, dtype=torch.float32):
    """Return attention as a function of the queries, and queries."""
    tensors, *windows = inputs("whole windows", dtype)
    tensors = [tensor.detach() for tensor in tensors]
    return lambda q: attend([q, *tensors[1:]], *windows, True, implementation), tensors[0]


OPERATORS = {
    "native_attention": lambda: attention("native"),
    "tiled_attention": lambda: attention("tiled"),
    "native_conv3x3": lambda: (lambda x: native_conv3x3(x, WEIGHT, None), X),
    "native_roi_align": lambda: (lambda x: native_roi_align([x], BOX, ZERO, ZERO, [1.0], 7), X),
}


def with_jvp(function, x):
    return torch.func.jvp(function, (x,), (torch.ones_like(x),))[1]


def with_dual_numbers(function, x):
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(function(forward_ad.make_dual(x, torch.ones_like(x)))).tangent


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("derivative", [with_jvp, with_dual_numbers])
@pytest.mark.parametrize("name", OPERATORS)
def test_forward_mode_is_refused(name, derivative, requires_grad):
    function, x = OPERATORS[name]()
    with pytest.raises(NotImplementedError, match=f"^{name}: forward-mode differentiation .* is not impl"):
        derivative(function, x.clone().requires_grad_(requires_grad))


@pytest.mark.usefixtures("native")
def test_a_constant_in_forward_mode_is_no_error():
    with forward_ad.dual_level():
        torch.testing.assert_close(native_conv3x3(X, WEIGHT, None), F.conv2d(X, WEIGHT, padding=1))


def test_forward_mode_works_with_pytorchs_operators():
    tangent = with_jvp(lambda x: conv2d(x, WEIGHT.double(), None), X.double())
    torch.testing.assert_close(tangent, F.conv2d(X.double(), WEIGHT.double(), padding=1))
    function, q = attention("reference", torch.float64)
    step = 1e-6
    expected = (function(q + step) - function(q - step)) / (2 * step)
    torch.testing.assert_close(with_jvp(function, q), expected, rtol=1e-6, atol=1e-8)
