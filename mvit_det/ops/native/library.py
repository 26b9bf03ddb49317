"""Compilation of the kernels in C."""

import ctypes
import os
import shlex
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

OPTIONS = ["-std=gnu11", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC"]


@cache
def load_library(name: str) -> ctypes.CDLL:
    """Compile a kernel for this processor and load it; this takes about half a second.

    The compiler is the one that the environment variable ``CC`` names, or ``cc``.

    Args:
        name: of a C file in this folder, without the suffix.

    Raises:
        OSError: if there is no compiler, or if the library cannot be loaded.
        RuntimeError: if the compiler fails; its output is in the message.
    """
    compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
    source = Path(__file__).with_name(f"{name}.c")
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, f"{name}.so")
        result = subprocess.run(
            [*compiler, *OPTIONS, source, "-o", out, "-lm"], capture_output=True, text=True
        )
        if result.returncode != 0:
            raise RuntimeError(f"{shlex.join(compiler)}: {result.stderr.strip()}")
        return ctypes.CDLL(out)


def call_kernel(library: str, function: str, arguments: ctypes.Structure) -> None:
    """Call a function of a kernel, which returns 1 if there is not enough memory.

    Raises:
        MemoryError: in that case.
    """
    if getattr(load_library(library), function)(ctypes.byref(arguments)) != 0:
        raise MemoryError(f"{library}: not enough memory for its workspace; smaller images need less")


def check_tensor(name: str, x: Tensor, dtype: torch.dtype) -> None:
    """Assert that a tensor is contiguous, on a CPU and of a dtype, since kernels do not check this."""
    is_valid = x.dtype == dtype and x.device.type == "cpu" and x.is_contiguous()
    assert is_valid, f"{name}: {x.dtype} on {x.device}, strides {x.stride()}"
