"""Which of our kernels this machine can run: those in Triton on a GPU, and those in C on a CPU."""

import textwrap
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch

from mvit_det.ops.native.attention import native_attention
from mvit_det.ops.native.convolution import native_conv3x3
from mvit_det.ops.native.roi_align import native_roi_align
from mvit_det.ops.self_test import check_attention, check_conv3x3, check_roi_align


def has_triton(device: str, dtype: torch.dtype) -> bool:
    """Return whether to use the Triton kernels: on an NVIDIA GPU, in half precision."""
    return device == "cuda" and dtype in (torch.bfloat16, torch.float16) and _is_available("triton")


def has_native(device: str, dtype: torch.dtype, kernel: str = "native") -> bool:
    """Return whether to use a C kernel: on a CPU, in float32.

    Args:
        device: type of the device.
        dtype: of the tensors.
        kernel: key of :data:`NATIVE_CHECKS`; by default, attention.
    """
    return device == "cpu" and dtype == torch.float32 and _is_available(kernel)


def _is_available(backend: str) -> bool:
    # A traced or exported model may run on another machine.
    if torch.jit.is_tracing() or torch.compiler.is_exporting():  # type: ignore[attr-defined, no-untyped-call]
        return False
    return not _constant_reason(backend)


def _constant_reason(backend: str) -> str:
    return unavailable_reason(backend)


# Makes torch.compile treat the result as a constant, instead of tracing into the function. This is what
# torch.compiler.assume_constant_result does, but that imports the compiler, which takes two seconds.
_constant_reason._dynamo_marked_constant = True  # type: ignore[attr-defined]


@cache
def unavailable_reason(backend: str) -> str:
    """Return why this machine cannot run the kernels of a backend, or an empty string if it can.

    On the first call, the kernels are compared with PyTorch operators, because Triton or a C compiler may be
    missing or may compile them wrongly. If they fail, a warning is issued.

    Args:
        backend: ``"triton"``, or a C kernel: a key of :data:`NATIVE_CHECKS`.
    """
    if backend == "triton":
        if torch.version.cuda is None or not torch.cuda.is_available():
            return "needs an NVIDIA GPU"
        if torch.cuda.get_device_capability() < (8, 0):
            return "needs a GPU of compute capability 8.0 or higher"
        return _self_test("Triton", _check_triton, torch.cuda.current_device())
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        return "needs a processor with AVX2"
    return _self_test("C", NATIVE_CHECKS[backend])


def _self_test(language: str, check: Callable[..., None], *args: int) -> str:
    """Run a check of the kernels in a language; return its error as one line, or an empty string."""
    try:
        # A new thread does not inherit autocast, modes and saved-tensor hooks from the caller.
        with ThreadPoolExecutor(1) as executor:
            executor.submit(check, *args).result()
    except Exception as error:
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", 200, placeholder=" ...")
        message = f"mvit_det's {language} kernels are disabled, PyTorch operators are used instead: {reason}"
        _warn_once(message)
        return reason
    return ""


@cache
def _warn_once(message: str) -> None:
    """Issue a warning, once for all C kernels if they fail for the same reason, such as no compiler."""
    warnings.warn(message, stacklevel=4)


def _check_triton(device: int) -> None:
    from mvit_det.ops.triton.self_test import check_triton

    with torch.cuda.device(device):  # a new thread starts on the first GPU
        check_triton("cuda", torch.bfloat16)


# C kernel -> function that compares it with PyTorch's operators.
NATIVE_CHECKS: dict[str, Callable[[], None]] = {
    "native": lambda: check_attention(native_attention, torch.empty(0, dtype=torch.float32, device="cpu")),
    "convolution": lambda: check_conv3x3(native_conv3x3),
    "roi_align": lambda: check_roi_align(native_roi_align),
}
