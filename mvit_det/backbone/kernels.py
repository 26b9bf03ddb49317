"""Whether our Triton kernels run here."""

import textwrap
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch


def has_kernels(device: str, dtype: torch.dtype) -> bool:
    """Return whether our kernels run: in half precision, where :func:`why_no_kernels` gives no reason."""
    is_half = dtype in (torch.bfloat16, torch.float16)
    is_tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return device == "cuda" and is_half and not is_tracing and not _reason()


def _reason() -> str:
    return why_no_kernels()  # a compiler would trace through a cached function


# What torch.compiler.assume_constant_result does, but for importing the compiler: two seconds.
_reason._dynamo_marked_constant = True  # type: ignore[attr-defined]


@cache
def why_no_kernels() -> str:
    """Return why our kernels are not for the current GPU, and nothing where they are.

    They are tried once in a process, against torch's operators: Triton may be missing, or lack the C
    compiler that it needs, or compile something wrong. Then a warning tells it.
    """
    if torch.version.cuda is None or not torch.cuda.is_available():
        return "they need an NVIDIA GPU"
    if torch.cuda.get_device_capability() < (8, 0):
        return "they need compute capability 8.0"
    try:
        with ThreadPoolExecutor(1) as thread:  # without the caller's autocast, modes, hooks for saved tensors
            thread.submit(_check, torch.cuda.current_device()).result()
    except Exception as error:
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", 200, placeholder=" ...")
        warnings.warn(
            f"mvit_det's Triton kernels are left out, torch's slower ones run: {reason}", stacklevel=2
        )
        return reason
    return ""


def _check(device: int) -> None:
    from mvit_det.backbone.triton_check import check_kernels

    with torch.cuda.device(device):
        check_kernels("cuda", torch.bfloat16)
