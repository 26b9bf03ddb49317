import math

import pytest
import torch

from mvit_det.ops.native import attention as native_attention
from tests.ops.attention_cases import CASES, attend, inputs, with_gradients

pytestmark = pytest.mark.usefixtures("native")


@pytest.fixture(
    scope="module", params=["cc", "cc -mno-avx512f"]
)  # vectors of 16 floats, if it has them; of 8
def library(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CC", request.param)
        return native_attention.library.__wrapped__()


@pytest.mark.parametrize("parts", [1, 3])  # of the queries of a window, for threads
@pytest.mark.parametrize("channels", [6, 72])
@pytest.mark.parametrize("case", CASES)
def test_it_gives_what_the_reference_gives(case, channels, parts, library, monkeypatch):
    monkeypatch.setattr(native_attention, "library", lambda: library)
    monkeypatch.setattr(native_attention, "_parts", lambda q, q_window: parts)
    tensors, *windows = inputs(case, torch.float32, channels)
    for given, residual in ((tensors, False), (tensors, True), ([*tensors[:3], None, None], True)):
        exact = [tensor if tensor is None else tensor.double() for tensor in given]
        expected = with_gradients(exact, *windows, residual, "reference")
        found = with_gradients(given, *windows, residual, "native")
        for a, b in zip(found, expected, strict=True):
            assert (a - b).abs().max() <= 1e-5 * b.abs().max() + 1e-6


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("tensor", range(5))
def test_it_hides_no_nan(tensor, value):
    tensors, *windows = inputs("global", torch.float32)
    with torch.no_grad():
        tensors[tensor].view(-1)[5] = value
    expected = [found.isfinite() for found in with_gradients(tensors, *windows, True, "reference")]
    found = [found.isfinite() for found in with_gradients(tensors, *windows, True, "native")]
    assert not all(finite.all() for finite in expected)
    for a, b in zip(found, expected, strict=True):
        assert not (a & ~b).any()


def test_scores_far_below_the_largest_weigh_nothing():
    q = torch.tensor([1.0, 0.0]).view(1, 1, 1, 1, 2)
    k = torch.tensor([[0.0, 0.0], [-600.0, 0.0], [-60.0, 0.0]]).view(1, 1, 3, 1, 2)
    v = torch.tensor([[1.0, 0.0], [0.0, 1e30], [0.0, 1e30]]).view(1, 1, 3, 1, 2)
    out = attend((q, k, v, None, None), (1, 1), (1, 3), False, "native")
    expected = attend([*(x.double() for x in (q, k, v)), None, None], (1, 1), (1, 3), False, "reference")
    torch.testing.assert_close(out.double(), expected, rtol=1e-4, atol=0)


def test_a_backward_pass_inside_of_autocast_is_as_outside():
    tensors, *windows = inputs("filled-up windows", torch.float32)
    out = attend(tensors, *windows, True, "native")
    with torch.autocast("cpu", torch.bfloat16):
        found = torch.autograd.grad(out, tensors, torch.ones_like(out))
    out = attend(tensors, *windows, True, "native")
    expected = torch.autograd.grad(out, tensors, torch.ones_like(out))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_no_pictures_give_no_outputs():
    tensors, *windows = inputs("global", torch.float32)
    tensors[:3] = (tensor[:0] for tensor in tensors[:3])
    out = attend(tensors, *windows, True, "native")
    assert out.shape == tensors[0].shape
    grad_q, *_, grad_table = torch.autograd.grad(out.sum(), tensors)
    assert grad_q.shape == out.shape
    assert not grad_table.any()


@pytest.mark.parametrize("index", range(1, 5))
def test_what_does_not_fit_never_reaches_the_kernel(index):
    tensors, *windows = inputs("global", torch.float32)
    for shorter in (tensors[index][..., :-1].contiguous(), tensors[index][:, :-1].contiguous()):
        given = [*tensors[:index], shorter, *tensors[index + 1 :]]
        with pytest.raises((AssertionError, RuntimeError)):
            attend(given, *windows, True, "native")
    with pytest.raises(AssertionError, match="float64 on cpu"):
        attend([tensors[0], tensors[1], tensors[2].double(), *tensors[3:]], *windows, True, "native")


def test_as_an_operator_it_keeps_torchs_rules():
    tensors, *windows = inputs("filled-up windows", torch.float32)
    torch.library.opcheck(torch.ops.mvit_det.native_attention, (*tensors, *map(list, windows), True))
