"""Whether our kernels run here: those in Triton on a GPU, that in C on a CPU."""

import textwrap
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch

from mvit_det.ops.native.attention import native_attention
from mvit_det.ops.self_test import check_attention


def has_triton(device: str, dtype: torch.dtype) -> bool:
    """Return whether our Triton kernels run: on an NVIDIA GPU in half precision."""
    return device == "cuda" and dtype in (torch.bfloat16, torch.float16) and _runs("triton")


def has_native(device: str, dtype: torch.dtype) -> bool:
    """Return whether our kernel in C runs: on a CPU in float32."""
    return device == "cpu" and dtype == torch.float32 and _runs("native")


def _runs(kernels: str) -> bool:
    is_tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    is_for_elsewhere = is_tracing or torch.compiler.is_exporting()
    return not is_for_elsewhere and not _reason(kernels)


def _reason(kernels: str) -> str:
    return unavailable_reason(kernels)  # a compiler would trace through a cached function


# What torch.compiler.assume_constant_result does, but for importing the compiler: two seconds.
_reason._dynamo_marked_constant = True  # type: ignore[attr-defined]


@cache
def unavailable_reason(kernels: str) -> str:
    """Return why our kernels, ``"triton"`` or ``"native"``, are not for this machine; nothing where they are.

    They are tried once in a process, against torch's operators: Triton or a C compiler may be missing, or
    compile something wrong. Then a warning tells it.
    """
    if kernels == "triton":
        if torch.version.cuda is None or not torch.cuda.is_available():
            return "they need an NVIDIA GPU"
        if torch.cuda.get_device_capability() < (8, 0):
            return "they need compute capability 8.0"
        return _try("Triton kernels are", _check_triton, torch.cuda.current_device())
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        return "it needs a processor with AVX2"
    return _try("kernel in C is", _check_native)


def _try(what: str, check: Callable[..., None], *arguments: int) -> str:
    try:
        with ThreadPoolExecutor(1) as thread:  # without the caller's autocast, modes, hooks for saved tensors
            thread.submit(check, *arguments).result()
    except Exception as error:
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", 200, placeholder=" ...")
        warnings.warn(f"mvit_det's {what} left out, torch's slower operators run: {reason}", stacklevel=3)
        return reason
    return ""


def _check_triton(device: int) -> None:
    from mvit_det.ops.triton.self_test import check_triton

    with torch.cuda.device(device):  # a new thread begins with the first
        check_triton("cuda", torch.bfloat16)


def _check_native() -> None:
    check_attention(native_attention, torch.empty(0, dtype=torch.float32, device="cpu"))
