import pytest
import torch
import torch.nn.functional as F

from mvit_det.ops.linear import affine


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_affine_is_linear_with_its_gradients(dtype):
    x, weight, bias = (
        torch.randn(shape, dtype=dtype, requires_grad=True) for shape in ((2, 3, 4), (5, 4), (5,))
    )
    for given in (bias, None):
        wanted = [x, weight] if given is None else [x, weight, bias]
        out, expected = affine(x, weight, given), F.linear(x, weight, given)
        torch.testing.assert_close(out, expected)
        for a, b in zip(
            torch.autograd.grad(out.sum(), wanted), torch.autograd.grad(expected.sum(), wanted), strict=True
        ):
            torch.testing.assert_close(a, b)


def test_affine_without_gradients_in_bfloat16():
    x, weight, bias = (torch.randn(shape, dtype=torch.bfloat16) for shape in ((2, 3, 4), (5, 4), (5, 2)))
    with torch.no_grad():
        for given in (bias[:, 0], bias[0, 0].expand(5)):  # with strides
            exact = F.linear(x.double(), weight.double(), given.double())
            torch.testing.assert_close(affine(x, weight, given).double(), exact, rtol=0.01, atol=0.02)
