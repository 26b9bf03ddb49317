"""Time, memory and work of a model, and the rates of the machine that it runs on."""

import os
import platform
import re
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mvit_det.backbone.mvit import build_mvit
from mvit_det.benchmark.others import Side

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
MODES = ("forward", "step")
WARM_UPS = 2
MATRIX_SIDE = {"cpu": 2048, "cuda": 8192}
COPY_BYTES = 256_000_000
OUT_OF_MEMORY = "out of memory"


def compare(ours: Side, theirs: Side, images: Tensor, mode: str, dtype: str, repeats: int) -> dict[str, Any]:
    """Return the costs of both sides, each a number, None where not told, or ``OUT_OF_MEMORY``.

    Times are in ms, with quartiles; memory is in MB (10^6 bytes). ``saved``: what autograd keeps for the
    backward pass, each storage once, without parameters but with their copies under autocast.
    ``peak``: the most allocated above what was there before, parameters and images among it.
    """
    sides = {"ours": ours, "theirs": theirs}
    times: dict[str, list[Any]] = {name: [] for name in sides}
    for side in sides.values():
        side.module.train(mode == "step")
    for _ in range(WARM_UPS + repeats):
        for name, side in sides.items():
            if OUT_OF_MEMORY not in times[name]:
                times[name].append(_unless_full(_run_timed, side, images, mode, dtype))

    row: dict[str, Any] = {"ratio": None}
    for name, side in sides.items():
        is_full = OUT_OF_MEMORY in times[name]
        row[f"{name}_ms"] = OUT_OF_MEMORY if is_full else quartiles(1e3 * t for t in times[name][WARM_UPS:])
        saved = _unless_full(saved_bytes, side, images, dtype) if mode == "step" else None
        peak = _unless_full(_peak_bytes, side, images, mode, dtype) if images.is_cuda else None
        for key, value in (("saved", saved), ("peak", peak)):
            row[f"{name}_{key}_mb"] = value / 1e6 if isinstance(value, int) else value
    if OUT_OF_MEMORY not in (row["ours_ms"], row["theirs_ms"]):
        pairs = zip(times["ours"], times["theirs"], strict=True)
        row["ratio"] = quartiles([their / our for our, their in pairs][WARM_UPS:])
    return row


def quartiles(values: Iterable[float]) -> dict[str, float]:
    """Return the median and the quartiles, linear between the values."""
    data = torch.tensor(list(values), dtype=torch.float64)
    q1, median, q3 = data.quantile(data.new_tensor([0.25, 0.5, 0.75])).tolist()
    return {"q1": q1, "median": median, "q3": q3}


def run(side: Side, images: Tensor, mode: str, dtype: str) -> None:
    """Run a forward pass without gradients, or a training step's forward and backward."""
    with torch.set_grad_enabled(mode == "step"):
        maps = _forward(side, images, dtype)
    if mode == "step":
        torch.stack([each.float().square().mean() for each in maps]).sum().backward()


def saved_bytes(side: Side, images: Tensor, dtype: str) -> int:
    """Return the bytes that a forward pass leaves for the backward, each storage once, no parameters."""
    own = {tensor.untyped_storage().data_ptr() for tensor in side.module.state_dict().values()}
    sizes: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # a tensor that its own graph holds would never be freed

    def keep_input(_: nn.Module, inputs: tuple[Tensor]) -> None:
        keep(inputs[0])

    hooks = []
    if getattr(side.module, "recompute", None) == "block":  # torch.utils.checkpoint has its own hooks
        for block in side.module.get_submodule("blocks").children():
            hooks.append(block.register_forward_pre_hook(keep_input))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        maps = _forward(side, images, dtype)  # holds the graph, so that no address is used twice
    for hook in hooks:
        hook.remove()
    del maps
    return sum(sizes.values())


@lru_cache
def count_gflop(variant: str, height: int, width: int) -> float:
    """Return the GFLOP (10^9, a multiply-add is 2) of our forward pass for one picture, not computed."""
    counter = FlopCounterMode(display=False)
    with torch.device("meta"), torch.no_grad(), counter:
        build_mvit(variant, attention="reference").eval()(torch.empty(1, 3, height, width))
    return counter.get_total_flops() / 1e9


def describe_machine(device: str, dtypes: Sequence[str]) -> dict[str, Any]:
    """Return what the run is on, with the rates of a matrix product (GFLOP/s) and of a copy (GB/s)."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    side = MATRIX_SIDE[device]
    rates = {}
    for dtype in dtypes:
        a, b = (torch.randn(side, side, device=device).to(DTYPES[dtype]) for _ in range(2))
        product = torch.empty_like(a)
        rates[dtype] = 2e-9 * side**3 / _median_seconds(partial(torch.mm, a, b, out=product), device)
    source = torch.ones(COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    return {
        "cpu": found[1] if found else platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "matrix_gflop_per_s": rates,
        "copy_gb_per_s": 2e-9 * COPY_BYTES / _median_seconds(partial(target.copy_, source), device),
    }


def _forward(side: Side, images: Tensor, dtype: str) -> list[Tensor]:
    with torch.autocast(images.device.type, DTYPES[dtype], enabled=dtype != "float32"):
        maps = side.call(images)
    if isinstance(maps, Tensor):
        return [maps]
    return list(maps.values() if isinstance(maps, dict) else maps)


def _run_timed(side: Side, images: Tensor, mode: str, dtype: str) -> float:
    try:
        return _seconds(partial(run, side, images, mode, dtype), images.device.type)
    finally:
        side.module.zero_grad()


def _peak_bytes(side: Side, images: Tensor, mode: str, dtype: str) -> int:
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    _run_timed(side, images, mode, dtype)
    return torch.cuda.max_memory_allocated() - before


def _unless_full(function: Callable[..., Any], *args: Any) -> Any:
    with suppress(torch.OutOfMemoryError):
        return function(*args)
    torch.cuda.empty_cache()
    return OUT_OF_MEMORY


def _seconds(work: Callable[[], object], device: str) -> float:
    synchronize = torch.get_device_module(device).synchronize  # nothing to wait for on a CPU
    synchronize()
    start = time.perf_counter()
    work()
    synchronize()
    return time.perf_counter() - start


def _median_seconds(work: Callable[[], object], device: str) -> float:
    return quartiles([_seconds(work, device) for _ in range(WARM_UPS + 5)][WARM_UPS:])["median"]
