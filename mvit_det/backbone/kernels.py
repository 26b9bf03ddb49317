"""Whether our Triton kernels run here."""

import textwrap
import warnings
from functools import cache

import torch


def has_kernels(device: str, dtype: torch.dtype) -> bool:
    """Return whether our kernels run: in half precision, where :func:`why_no_kernels` gives no reason."""
    return device == "cuda" and dtype in (torch.bfloat16, torch.float16) and not _reason()


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _reason() -> str:
    return why_no_kernels()  # a compiler would trace through a cached function


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
        from mvit_det.backbone.triton_check import check_kernels

        check_kernels("cuda", torch.bfloat16)
    except Exception as error:
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", 200, placeholder=" ...")
        warnings.warn(
            f"mvit_det's Triton kernels are left out for torch's slower ones: {reason}", stacklevel=2
        )
        return reason
    return ""
