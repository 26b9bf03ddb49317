import pytest
import torch

pytest.importorskip("triton")

from mvit_det.ops.triton import self_test

CHECKED_FUNCTIONS = {
    "attention": "triton_attention",
    "LayerNorm": "triton_norm",
    "pooling": "triton_pooled_norm",
}


@pytest.mark.slow
@pytest.mark.usefixtures("kernels")
def test_correct_kernels_pass():
    self_test.check_triton("cpu", torch.float16)


@pytest.mark.slow
@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("name", CHECKED_FUNCTIONS)
def test_a_wrong_kernel_is_named(name, monkeypatch):
    kernel = getattr(self_test, CHECKED_FUNCTIONS[name])
    monkeypatch.setattr(self_test, CHECKED_FUNCTIONS[name], lambda *args: 1.1 * kernel(*args))
    with pytest.raises(RuntimeError, match=f"the kernel of {name} has a relative error of 0.2"):
        self_test.check_triton("cpu", torch.float16)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_kernels_are_correct_on_this_gpu(dtype):
    self_test.check_triton("cuda", dtype)
