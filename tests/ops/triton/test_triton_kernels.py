import copy
import threading
from contextlib import nullcontext
from shutil import which

import pytest
import torch

from mvit_det import MViT
from mvit_det.ops import availability as kernels
from mvit_det.ops.attention import choose_implementation
from mvit_det.ops.native.attention import library
from mvit_det.ops.reference import reference_attention


@pytest.fixture(autouse=True)
def anew():
    kernels.unavailable_reason.cache_clear()
    library.cache_clear()
    yield
    kernels.unavailable_reason.cache_clear()
    library.cache_clear()


@pytest.fixture
def gpu(monkeypatch):
    """Let torch tell of a GPU."""
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "device", lambda index: nullcontext())


def checked(monkeypatch, check):
    pytest.importorskip("triton")
    monkeypatch.setattr("mvit_det.ops.triton.self_test.check_triton", check)


def test_kernels_run_in_half_precision_where_they_are_right(gpu, monkeypatch):
    calls = []
    checked(monkeypatch, lambda *arguments: calls.append(arguments))
    assert kernels.has_triton("cuda", torch.bfloat16)
    assert kernels.has_triton("cuda", torch.float16)
    assert not kernels.has_triton("cuda", torch.float32)
    assert not kernels.has_triton("cpu", torch.float16)
    assert calls == [("cuda", torch.bfloat16)]  # once


def test_each_gpu_checks_its_own(gpu, monkeypatch):
    chosen, main = [], threading.get_ident()
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3 if threading.get_ident() == main else 0)
    monkeypatch.setattr(torch.cuda, "device", lambda index: chosen.append(index) or nullcontext())
    checked(monkeypatch, lambda *arguments: None)
    assert kernels.has_triton("cuda", torch.bfloat16)
    assert chosen == [3]


def test_kernels_that_fail_are_left_out_with_a_warning(gpu, monkeypatch):
    def check(device, dtype):
        raise RuntimeError("no C compiler")

    checked(monkeypatch, check)
    with pytest.warns(UserWarning, match=r"Triton kernels are left out.*RuntimeError: no C compiler"):
        assert not kernels.has_triton("cuda", torch.bfloat16)
    assert kernels.unavailable_reason("triton") == "RuntimeError: no C compiler"


def test_what_surrounds_the_first_call_stays_out_of_the_check(gpu, monkeypatch):
    def check(device, dtype):
        x = torch.ones(2, requires_grad=True)
        torch.autograd.grad(x.square().sum(), x)

    checked(monkeypatch, check)
    saved = []
    with torch.no_grad(), torch.autograd.graph.saved_tensors_hooks(saved.append, lambda x: x):
        assert kernels.has_triton("cuda", torch.bfloat16)
    assert not saved


def test_an_older_gpu_is_told(gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    assert kernels.unavailable_reason("triton") == "they need compute capability 8.0"


@pytest.fixture(params=[torch.float32, torch.float64])
def default_dtype(request):
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield
    torch.set_default_dtype(before)


@pytest.mark.usefixtures("default_dtype")
def test_the_kernel_in_c_runs_in_float32_where_it_is_right():
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX") or which("cc") is None:
        pytest.skip("needs AVX2 and a C compiler")
    assert kernels.has_native("cpu", torch.float32)
    assert not kernels.has_native("cpu", torch.bfloat16)
    assert not kernels.has_native("cuda", torch.float32)


def test_a_kernel_in_c_that_is_off_is_left_out(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.setattr(kernels, "native_attention", lambda *arguments: 1.1 * reference_attention(*arguments))
    with pytest.warns(UserWarning, match=r"kernel in C is left out.*for attention is off by 0.2"):
        assert not kernels.has_native("cpu", torch.float32)


@pytest.mark.parametrize(
    ("compiler", "reason"),
    [
        ("no-such-compiler", "No such file or directory: 'no-such-compiler'"),
        ("false --", "RuntimeError: false"),
    ],
)
def test_without_a_working_compiler_torchs_operators_run(compiler, reason, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.setenv("CC", compiler)
    model = MViT(embed_dim=8, depth=4, last_block_indexes=(0, 1, 2, 3), adaptive_window_size=8)
    with pytest.warns(
        UserWarning, match=f"kernel in C is left out, torch's slower operators run: .*{reason}"
    ):
        model(torch.randn(1, 3, 32, 32))
    with pytest.raises(ValueError, match=rf"'native': cannot run in float32 on cpu \(.*{reason}"):
        choose_implementation("native", "cpu", torch.float32)


def test_an_older_processor_is_told(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "NO AVX")
    assert not kernels.has_native("cpu", torch.float32)
    assert kernels.unavailable_reason("native") == "it needs a processor with AVX2"


def test_a_compiler_takes_the_answer_as_a_constant(monkeypatch):
    calls = []

    def unavailable_reason(name):
        calls.append(torch.ones(2, requires_grad=True).sum().backward())  # not for a graph
        return ""

    monkeypatch.setattr(kernels, "unavailable_reason", unavailable_reason)

    @torch.compile(fullgraph=True, backend="eager")
    def double(x):
        return 2 * x if kernels.has_triton("cuda", torch.bfloat16) else x

    assert double(torch.ones(1)).item() == 2
    assert calls


@pytest.mark.parametrize("recompute", ["none", "cheap", "block"])
def test_the_gradients_of_a_model_with_our_kernels(recompute, request):
    torch.manual_seed(0)
    keywords = {"embed_dim": 8, "depth": 4, "last_block_indexes": (0, 1, 2, 3), "adaptive_window_size": 8}
    model = MViT(**keywords, recompute=recompute, rel_pos_zero_init=False)
    images = torch.randn(1, 3, 45, 70)

    def gradients(model):
        sum(output.square().sum() for output in model(images).values()).backward()
        return {name: parameter.grad for name, parameter in model.named_parameters()}

    expected = gradients(copy.deepcopy(model))
    request.getfixturevalue("kernels")
    found = gradients(model)
    for name, grad in found.items():
        assert (grad - expected[name]).norm() <= 1e-3 * expected[name].norm() + 1e-5, name
    assert not torch.equal(
        found["patch_embed.proj.weight"], expected["patch_embed.proj.weight"]
    )  # not torch's
