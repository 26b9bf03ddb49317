import math

import pytest
import torch
from attention_cases import CASES, inputs, with_gradients

from mvit_det.backbone import native_attention

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


def test_as_an_operator_it_keeps_torchs_rules():
    tensors, *windows = inputs("filled-up windows", torch.float32)
    torch.library.opcheck(torch.ops.mvit_det.native_attention, (*tensors, *map(list, windows), True))
