"""Describes the machine that the benchmark runs on."""

import os
import platform
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from mvit_det.benchmark.measure import DTYPES, elapsed

MATRIX_SIZE = {"cpu": 2048, "cuda": 8192}  # rows and columns of the matrices, by device
COPY_BYTES = 256_000_000


def describe_machine(device: str, dtypes: Sequence[str]) -> dict[str, Any]:
    """Return the hardware, the version of torch, and two measured rates.

    Args:
        device: ``"cpu"`` or ``"cuda"``.
        dtypes: keys of :data:`mvit_det.benchmark.measure.DTYPES`.

    Returns:
        values for ``benchmark.json``. ``matrix_gflop_per_s`` is the rate of a large matrix product by dtype;
        ``copy_gb_per_s`` counts the bytes that a copy reads and writes.
    """
    cpuinfo = Path("/proc/cpuinfo")
    match = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    size = MATRIX_SIZE[device]
    rates = {}
    for dtype in dtypes:
        a, b = (torch.randn(size, size, device=device).to(DTYPES[dtype]) for _ in range(2))
        out = torch.empty_like(a)
        rates[dtype] = 2e-9 * size**3 / _median_seconds(partial(torch.mm, a, b, out=out), device)
    source = torch.ones(COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    return {
        "cpu": match[1] if match else platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "matrix_gflop_per_s": rates,
        "copy_gb_per_s": 2e-9 * COPY_BYTES / _median_seconds(partial(target.copy_, source), device),
    }


def _median_seconds(function: Callable[[], object], device: str) -> float:
    return median([elapsed(function, device) for _ in range(7)][2:])  # the first two calls are warm-ups
