import pytest
import torch

pytest.importorskip("triton")

from mvit_det.ops.triton import self_test as triton_check

CHECKED = {"attention": "triton_attention", "LayerNorm": "triton_norm", "pooling": "triton_pooled_norm"}


@pytest.mark.usefixtures("kernels")
def test_kernels_that_are_right_pass():
    triton_check.check_triton("cpu", torch.float16)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("name", CHECKED)
def test_a_kernel_that_is_off_is_named(name, monkeypatch):
    right = getattr(triton_check, CHECKED[name])
    monkeypatch.setattr(triton_check, CHECKED[name], lambda *arguments: 1.1 * right(*arguments))
    with pytest.raises(RuntimeError, match=f"our kernel for {name} is off by 0.2"):
        triton_check.check_triton("cpu", torch.float16)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_kernels_are_right_on_this_gpu(dtype):
    triton_check.check_triton("cuda", dtype)
