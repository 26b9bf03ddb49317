import math

import pytest
import torch

from mvit_det.ops.native import attention as native_attention
from mvit_det.ops.native.library import load_library
from tests.ops.attention_cases import CASES, attend, inputs, with_gradients

pytestmark = pytest.mark.usefixtures("native")


# Vectors of 16 floats, if the processor has AVX-512, and of 8 floats.
@pytest.fixture(scope="module", params=["cc", "cc -mno-avx512f"])
def library(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CC", request.param)
        return load_library.__wrapped__("attention")


@pytest.mark.parametrize("parts", [1, 3])  # work items per window
@pytest.mark.parametrize("channels", [6, 72])
@pytest.mark.parametrize("case", CASES)
def test_matches_the_reference(case, channels, parts, library, monkeypatch):
    monkeypatch.setattr("mvit_det.ops.native.library.load_library", lambda name: library)
    monkeypatch.setattr(native_attention, "_num_parts", lambda q, q_window: parts)
    tensors, *windows = inputs(case, torch.float32, channels)
    for arguments, residual in ((tensors, False), (tensors, True), ([*tensors[:3], None, None], True)):
        exact = [tensor if tensor is None else tensor.double() for tensor in arguments]
        expected = with_gradients(exact, *windows, residual, "reference")
        results = with_gradients(arguments, *windows, residual, "native")
        for a, b in zip(results, expected, strict=True):
            assert (a - b).abs().max() <= 1e-5 * b.abs().max() + 1e-6


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("tensor", range(5))
def test_nan_and_infinity_are_not_hidden(tensor, value):
    tensors, *windows = inputs("global", torch.float32)
    with torch.no_grad():
        tensors[tensor].view(-1)[5] = value
    expected = with_gradients(tensors, *windows, True, "reference")
    results = with_gradients(tensors, *windows, True, "native")
    assert not all(b.isfinite().all() for b in expected)
    for a, b in zip(results, expected, strict=True):
        assert not (a.isfinite() & ~b.isfinite()).any()


def test_weights_underflow_to_zero():
    q = torch.tensor([1.0, 0.0]).view(1, 1, 1, 1, 2)
    k = torch.tensor([[0.0, 0.0], [-600.0, 0.0], [-60.0, 0.0]]).view(1, 1, 3, 1, 2)
    v = torch.tensor([[1.0, 0.0], [0.0, 1e30], [0.0, 1e30]]).view(1, 1, 3, 1, 2)
    out = attend((q, k, v, None, None), (1, 1), (1, 3), False, "native")
    expected = attend([*(x.double() for x in (q, k, v)), None, None], (1, 1), (1, 3), False, "reference")
    torch.testing.assert_close(out.double(), expected, rtol=1e-4, atol=0)


def test_backward_ignores_autocast():
    tensors, *windows = inputs("filled-up windows", torch.float32)
    out = attend(tensors, *windows, True, "native")
    with torch.autocast("cpu", torch.bfloat16):
        grads = torch.autograd.grad(out, tensors, torch.ones_like(out))
    out = attend(tensors, *windows, True, "native")
    expected = torch.autograd.grad(out, tensors, torch.ones_like(out))
    for a, b in zip(grads, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_an_empty_batch():
    tensors, *windows = inputs("global", torch.float32)
    tensors[:3] = (tensor[:0] for tensor in tensors[:3])
    out = attend(tensors, *windows, True, "native")
    assert out.shape == tensors[0].shape
    grad_q, *_, grad_table = torch.autograd.grad(out.sum(), tensors)
    assert grad_q.shape == out.shape
    assert not grad_table.any()


@pytest.mark.parametrize("index", range(1, 5))
def test_wrong_shapes_and_dtypes_are_refused(index):
    tensors, *windows = inputs("global", torch.float32)
    for shorter in (tensors[index][..., :-1].contiguous(), tensors[index][:, :-1].contiguous()):
        arguments = [*tensors[:index], shorter, *tensors[index + 1 :]]
        with pytest.raises((AssertionError, RuntimeError)):
            attend(arguments, *windows, True, "native")
    with pytest.raises(AssertionError, match="float64 on cpu"):
        attend([tensors[0], tensors[1], tensors[2].double(), *tensors[3:]], *windows, True, "native")


def test_the_operator_passes_opcheck():
    tensors, *windows = inputs("filled-up windows", torch.float32)
    torch.library.opcheck(torch.ops.mvit_det.native_attention, (*tensors, *map(list, windows), True))
