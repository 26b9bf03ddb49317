import threading
import warnings
from contextlib import nullcontext
from shutil import which

import pytest
import torch

from mvit_det import MViT
from mvit_det.ops import availability
from mvit_det.ops.attention import choose_implementation
from mvit_det.ops.native.library import load_library
from mvit_det.ops.reference import reference_attention


@pytest.fixture(autouse=True)
def clear_caches():
    caches = (availability.unavailable_reason, availability._warn_once, load_library)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.fixture
def gpu(monkeypatch):
    """Pretend that torch finds a GPU."""
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "device", lambda index: nullcontext())


def replace_triton_check(monkeypatch, check):
    pytest.importorskip("triton")
    monkeypatch.setattr("mvit_det.ops.triton.self_test.check_triton", check)


def test_triton_kernels_run_in_half_precision(gpu, monkeypatch):
    calls = []
    replace_triton_check(monkeypatch, lambda *args: calls.append(args))
    assert availability.has_triton("cuda", torch.bfloat16)
    assert availability.has_triton("cuda", torch.float16)
    assert not availability.has_triton("cuda", torch.float32)
    assert not availability.has_triton("cpu", torch.float16)
    assert calls == [("cuda", torch.bfloat16)]  # once


def test_triton_kernels_are_checked_on_the_current_gpu(gpu, monkeypatch):
    chosen, main = [], threading.get_ident()
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3 if threading.get_ident() == main else 0)
    monkeypatch.setattr(torch.cuda, "device", lambda index: chosen.append(index) or nullcontext())
    replace_triton_check(monkeypatch, lambda *args: None)
    assert availability.has_triton("cuda", torch.bfloat16)
    assert chosen == [3]


def test_triton_kernels_that_fail_are_disabled_with_a_warning(gpu, monkeypatch):
    def check(device, dtype):
        raise RuntimeError("no C compiler")

    replace_triton_check(monkeypatch, check)
    with pytest.warns(
        UserWarning,
        match="^mvit_det's Triton kernels are disabled, PyTorch operators are used instead: "
        "RuntimeError: no C compiler$",
    ):
        assert not availability.has_triton("cuda", torch.bfloat16)
    assert availability.unavailable_reason("triton") == "RuntimeError: no C compiler"


def test_the_check_ignores_contexts_of_the_caller(gpu, monkeypatch):
    def check(device, dtype):
        x = torch.ones(2, requires_grad=True)
        torch.autograd.grad(x.square().sum(), x)

    replace_triton_check(monkeypatch, check)
    saved = []
    with torch.no_grad(), torch.autograd.graph.saved_tensors_hooks(saved.append, lambda x: x):
        assert availability.has_triton("cuda", torch.bfloat16)
    assert not saved


def test_an_older_gpu_is_the_reason(gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    assert availability.unavailable_reason("triton") == "needs a GPU of compute capability 8.0 or higher"


@pytest.fixture(params=[torch.float32, torch.float64])
def default_dtype(request):
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield
    torch.set_default_dtype(before)


@pytest.mark.usefixtures("default_dtype")
def test_the_c_kernel_runs_in_float32():
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX") or which("cc") is None:
        pytest.skip("needs AVX2 and a C compiler")
    assert availability.has_native("cpu", torch.float32)
    assert not availability.has_native("cpu", torch.bfloat16)
    assert not availability.has_native("cuda", torch.float32)


def test_a_wrong_c_kernel_is_disabled(monkeypatch):
    def wrong_attention(*args):
        return 1.1 * reference_attention(*args)

    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.setattr(availability, "native_attention", wrong_attention)
    with pytest.warns(UserWarning, match=r"C kernels are disabled.*attention has a relative error of 0.2"):
        assert not availability.has_native("cpu", torch.float32)


@pytest.mark.parametrize(
    ("compiler", "reason"),
    [
        ("no-such-compiler", "No such file or directory: 'no-such-compiler'"),
        ("false --", "RuntimeError: false"),
    ],
)
def test_without_a_working_compiler_pytorch_operators_run(compiler, reason, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.setenv("CC", compiler)
    model = MViT(embed_dim=8, depth=4, last_block_indexes=(0, 1, 2, 3), adaptive_window_size=8)
    warning = f"C kernels are disabled, PyTorch operators are used instead: .*{reason}"
    with pytest.warns(UserWarning, match=warning):
        model(torch.randn(1, 3, 32, 32))
    with pytest.raises(ValueError, match=rf"'native': cannot run in float32 on cpu \(.*{reason}"):
        choose_implementation("native", "cpu", torch.float32)


def test_one_warning_says_that_all_c_kernels_lack_a_compiler(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.setenv("CC", "no-such-compiler")
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        assert not any(
            availability.has_native("cpu", torch.float32, kernel) for kernel in availability.NATIVE_CHECKS
        )
    assert len(issued) == 1
    assert issued[0].filename == availability.__file__


def test_an_older_processor_is_the_reason(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "NO AVX")
    assert not availability.has_native("cpu", torch.float32)
    assert availability.unavailable_reason("native") == "needs a processor with AVX2"


def test_availability_is_a_constant_to_the_compiler(monkeypatch):
    calls = []

    def unavailable_reason(backend):
        calls.append(torch.ones(2, requires_grad=True).sum().backward())  # cannot be traced
        return ""

    monkeypatch.setattr(availability, "unavailable_reason", unavailable_reason)

    @torch.compile(fullgraph=True, backend="eager")
    def double(x):
        return 2 * x if availability.has_triton("cuda", torch.bfloat16) else x

    assert double(torch.ones(1)).item() == 2
    assert calls
