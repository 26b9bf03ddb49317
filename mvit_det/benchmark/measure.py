"""Time and memory of one model.

Imports only torch: the worker process of :mod:`mvit_det.benchmark.checkout` loads this file by its path.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
MODES = ("forward", "step")
OUT_OF_MEMORY = "out of memory"


class Case(NamedTuple):
    """One mode of running a model, on a batch of random images."""

    mode: str  # one of MODES: a forward pass without gradients, or a training step
    dtype: str  # one of DTYPES; runs under autocast unless it is float32
    device: str
    batch: int
    height: int  # pixels
    width: int  # pixels


class Side(Protocol):
    """One of the two models that are compared."""

    def measure(self, quantity: str, case: Case) -> float | str:
        """Run the model once, and return one of :data:`QUANTITIES` or ``OUT_OF_MEMORY``."""


class LocalSide:
    """A model of this process.

    Args:
        module: the model.
        call: maps images (N, 3, H, W) to feature maps, as a dict, a sequence or one tensor; by default
            ``module``.
    """

    def __init__(self, module: nn.Module, call: Callable[[Tensor], Any] | None = None) -> None:
        self.module = module
        self.call = call or module

    def measure(self, quantity: str, case: Case) -> float | str:
        images = random_images(case.batch, case.height, case.width, case.device)
        self.module.train(case.mode == "step")
        with suppress(torch.OutOfMemoryError):
            return QUANTITIES[quantity](self, images, case.mode, case.dtype)
        torch.cuda.empty_cache()  # outside of the handler, whose traceback holds tensors
        return OUT_OF_MEMORY


@lru_cache(maxsize=1)
def random_images(batch: int, height: int, width: int, device: str) -> Tensor:
    """Return normal values (batch, 3, height, width), the same in every process."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, 3, height, width, generator=generator).to(device)


def loss(side: LocalSide, images: Tensor, mode: str, dtype: str) -> float:
    """Return the sum over the feature maps of their mean squares."""
    with torch.no_grad():
        return _loss(side, images, dtype).item()


def seconds(side: LocalSide, images: Tensor, mode: str, dtype: str) -> float:
    """Return the time of a forward pass, or of the forward and the backward pass of a training step."""
    try:
        return elapsed(partial(_run, side, images, mode, dtype), images.device.type)
    finally:
        side.module.zero_grad()


def peak_bytes(side: LocalSide, images: Tensor, mode: str, dtype: str) -> int:
    """Return the most GPU memory that was allocated in addition to parameters and images."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    seconds(side, images, mode, dtype)
    return torch.cuda.max_memory_allocated() - before


def saved_bytes(side: LocalSide, images: Tensor, mode: str, dtype: str) -> int:
    """Return the size of the tensors that autograd saves for the backward pass.

    Counts each storage once and no parameters, but the copies of parameters that autocast makes.
    """
    parameters = {tensor.untyped_storage().data_ptr() for tensor in side.module.state_dict().values()}
    sizes: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # an output saved by its own node would be a reference cycle

    def count_input(_: nn.Module, inputs: tuple[Tensor]) -> None:
        count(inputs[0])

    hooks = []
    if getattr(side.module, "recompute", None) == "block":  # torch.utils.checkpoint installs its own hooks
        for block in side.module.get_submodule("blocks").children():
            hooks.append(block.register_forward_pre_hook(count_input))
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        maps = _forward(side, images, dtype)  # keeps the graph alive, so that no address is reused
    for hook in hooks:
        hook.remove()
    del maps
    return sum(sizes.values())


def elapsed(function: Callable[[], object], device: str) -> float:
    """Return the seconds that a call takes, including the work that it queues on a GPU."""
    synchronize = torch.get_device_module(device).synchronize  # does nothing on a CPU
    synchronize()
    start = time.perf_counter()
    function()
    synchronize()
    return time.perf_counter() - start


QUANTITIES: dict[str, Callable[[LocalSide, Tensor, str, str], float]] = {
    function.__name__: function for function in (loss, seconds, peak_bytes, saved_bytes)
}


def _run(side: LocalSide, images: Tensor, mode: str, dtype: str) -> None:
    if mode == "step":
        _loss(side, images, dtype).backward()
    else:
        with torch.no_grad():
            _forward(side, images, dtype)


def _loss(side: LocalSide, images: Tensor, dtype: str) -> Tensor:
    return torch.stack([each.float().square().mean() for each in _forward(side, images, dtype)]).sum()


def _forward(side: LocalSide, images: Tensor, dtype: str) -> list[Tensor]:
    with torch.autocast(images.device.type, DTYPES[dtype], enabled=dtype != "float32"):
        maps = side.call(images)
    if isinstance(maps, Tensor):
        return [maps]
    return list(maps.values() if isinstance(maps, dict) else maps)
