"""Measures the time and memory of one model.

This file imports only torch, because the worker process of :mod:`mvit_det.benchmark.checkout` loads it by its
path.
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
    """The settings of a measurement: how a model runs, and the shape of its batch of random images."""

    mode: str  # one of MODES: a forward pass without gradients, or a training step
    dtype: str  # one of DTYPES; the model runs under autocast unless it is float32
    device: str  # "cpu" or "cuda"
    batch: int  # number of images
    height: int  # pixels
    width: int  # pixels


class MeasuredModel(Protocol):
    """A model that the benchmark compares, in this process or in another one."""

    def measure(self, quantity: str, case: Case) -> float | str:
        """Run the model, and return the value of a quantity.

        Args:
            quantity: a key of :data:`QUANTITIES`.
            case: how to run the model.

        Returns:
            the value, or ``OUT_OF_MEMORY`` if the GPU has too little memory.
        """


class LocalModel:
    """A model in this process.

    Args:
        module: the model.
        call: function of the images (N, 3, H, W) that returns the feature maps as a dict, a sequence or a
            single tensor; ``module`` by default.
    """

    def __init__(self, module: nn.Module, call: Callable[[Tensor], Any] | None = None) -> None:
        self.module = module
        self.call = call or module

    def measure(self, quantity: str, case: Case) -> float | str:
        """Implement :meth:`MeasuredModel.measure`."""
        images = random_images(case.batch, case.height, case.width, case.device)
        self.module.train(case.mode == "step")
        with suppress(torch.OutOfMemoryError):
            return QUANTITIES[quantity](self, images, case)
        torch.cuda.empty_cache()  # not in an except block, where the traceback still refers to tensors
        return OUT_OF_MEMORY

    def feature_maps(self, images: Tensor, case: Case) -> list[Tensor]:
        """Run a forward pass, and return the feature maps."""
        with torch.autocast(case.device, DTYPES[case.dtype], enabled=case.dtype != "float32"):
            maps = self.call(images)
        if isinstance(maps, Tensor):
            return [maps]
        return list(maps.values() if isinstance(maps, dict) else maps)

    def loss(self, images: Tensor, case: Case) -> Tensor:
        """Return the sum over the feature maps of their mean squares."""
        return torch.stack([each.float().square().mean() for each in self.feature_maps(images, case)]).sum()


@lru_cache(maxsize=1)
def random_images(batch: int, height: int, width: int, device: str) -> Tensor:
    """Return normally distributed images (batch, 3, height, width), the same ones in every process."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, 3, height, width, generator=generator).to(device)


def elapsed(function: Callable[[], object], device: str) -> float:
    """Return the seconds that a call takes, including the work that it queues on a GPU."""
    synchronize = torch.get_device_module(device).synchronize  # does nothing on a CPU
    synchronize()
    start = time.perf_counter()
    function()
    synchronize()
    return time.perf_counter() - start


def _loss(model: LocalModel, images: Tensor, case: Case) -> float:
    with torch.no_grad():
        return model.loss(images, case).item()


def _seconds(model: LocalModel, images: Tensor, case: Case) -> float:
    try:
        return elapsed(partial(_run, model, images, case), case.device)
    finally:
        model.module.zero_grad()


def _run(model: LocalModel, images: Tensor, case: Case) -> None:
    if case.mode == "step":
        model.loss(images, case).backward()
    else:
        with torch.no_grad():
            model.feature_maps(images, case)


def _peak_bytes(model: LocalModel, images: Tensor, case: Case) -> int:
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    _seconds(model, images, case)
    return torch.cuda.max_memory_allocated() - before


def _saved_bytes(model: LocalModel, images: Tensor, case: Case) -> int:
    parameters = {tensor.untyped_storage().data_ptr() for tensor in model.module.state_dict().values()}
    sizes: dict[int, int] = {}  # address of a storage -> bytes

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # a node that saves its own output would form a reference cycle

    def count_input(_: nn.Module, inputs: tuple[Tensor]) -> None:
        count(inputs[0])

    hooks = []
    if getattr(model.module, "recompute", None) == "block":  # torch.utils.checkpoint installs its own hooks
        for block in model.module.get_submodule("blocks").children():
            hooks.append(block.register_forward_pre_hook(count_input))
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        maps = model.feature_maps(images, case)  # keeps the graph alive, so that no address is reused
    for hook in hooks:
        hook.remove()
    del maps
    return sum(sizes.values())


QUANTITIES: dict[str, Callable[[LocalModel, Tensor, Case], float]] = {
    "loss": _loss,  # see LocalModel.loss
    "seconds": _seconds,  # of a forward pass, or of the forward and backward passes of a training step
    "peak_bytes": _peak_bytes,  # the most GPU memory allocated in addition to parameters and images
    # What autograd saves for the backward pass. Each storage counts once; parameters do not count, but the
    # copies of them that autocast makes do.
    "saved_bytes": _saved_bytes,
}
