import pytest
import torch

from mvit_det.backbone import kernels as layers
from mvit_det.backbone import triton_check


@pytest.mark.usefixtures("kernels")
def test_kernels_that_are_right_pass():
    triton_check.check_kernels("cpu", torch.float16)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(
    ("name", "function"), [("attention", "triton_attention"), ("pooling", "triton_pooled_norm")]
)
def test_a_kernel_that_is_off_is_named(name, function, monkeypatch):
    right = getattr(triton_check, function)
    monkeypatch.setattr(triton_check, function, lambda *arguments: 1.1 * right(*arguments))
    with pytest.raises(RuntimeError, match=f"our kernel for {name} is off by 0.2"):
        triton_check.check_kernels("cpu", torch.float16)


@pytest.mark.parametrize("cause", ["no C compiler", None])
def test_where_kernels_fail_torchs_take_their_place(cause, monkeypatch):
    def check(device, dtype):
        if cause:
            raise RuntimeError(cause)

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(triton_check, "check_kernels", check)
    layers._try_kernels.cache_clear()
    if cause:
        with pytest.warns(UserWarning, match=r"our GPU kernels are left out.*RuntimeError: no C compiler"):
            assert not layers.has_kernels("cuda", torch.bfloat16)
    assert layers.has_kernels("cuda", torch.bfloat16) == (cause is None)
    assert not layers.has_kernels("cuda", torch.float32)
    layers._try_kernels.cache_clear()


def test_a_compiler_takes_the_answer_as_a_constant(monkeypatch):
    calls = []

    def try_kernels():
        calls.append(torch.ones(2, requires_grad=True).sum().backward())  # not for a graph
        return True

    monkeypatch.setattr(layers, "_try_kernels", try_kernels)

    @torch.compile(fullgraph=True, backend="eager")
    def double(x):
        return 2 * x if layers.has_kernels("cuda", torch.bfloat16) else x

    assert double(torch.ones(1)).item() == 2
    assert calls
