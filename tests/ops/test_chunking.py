import pytest
import torch
import torch.nn.functional as F

from mvit_det.ops import chunking as rows
from mvit_det.ops.chunking import affine, by_rows


def test_rows_in_parts_are_those_of_the_whole(monkeypatch):
    monkeypatch.setattr(rows, "MIN_ROWS", 4)
    monkeypatch.setattr(rows, "CACHED_ELEMENTS", 4)
    sizes = []

    def function(x):
        sizes.append(len(x))
        return 2 * x

    x = torch.randn(2, 3, 3, 5)
    with torch.no_grad():
        assert torch.equal(by_rows(function, 1, x), 2 * x)
    assert sizes == [4, 4, 4, 4, 2]
    sizes.clear()
    by_rows(function, 1, x)  # gradients may be wanted
    assert sizes == [2]


def test_rows_that_widen(monkeypatch):
    monkeypatch.setattr(rows, "MIN_ROWS", 4)
    monkeypatch.setattr(rows, "CACHED_ELEMENTS", 4)
    x = torch.randn(2, 3, 3, 5)
    with torch.no_grad():
        widened = by_rows(lambda part: torch.cat([part, -part], dim=-1).bfloat16(), 1, x)
    assert torch.equal(widened, torch.cat([x, -x], dim=-1).bfloat16())


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
