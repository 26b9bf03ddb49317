"""Lightning's Trainer, set up alike for training and for evaluation."""

import logging
import os
import warnings
from typing import Any, Literal

import lightning as L
import torch
from rich.console import Console

from mvit_det.errors import InputError
from mvit_det.ops.allocator import keep_freed_memory
from mvit_det.torchvision.engine.progress import RunProgress

PRECISIONS: dict[str, Literal["32-true", "bf16-mixed"]] = {"float32": "32-true", "bf16": "bf16-mixed"}


def process_rank() -> int:
    """Return which of a run's processes this is; Lightning numbers those that it starts."""
    return int(os.environ.get("LOCAL_RANK", 0))


def build_console() -> Console:
    """Return the console of a run, which is silent in all processes but the first."""
    return Console(stderr=True, quiet=process_rank() != 0, markup=False)


def check_devices(devices: int) -> None:
    """Raise an InputError if the machine has GPUs, but fewer; without one, processes share the CPU."""
    if torch.cuda.is_available() and devices > torch.cuda.device_count():
        raise InputError(f"--devices {devices}: this machine has {torch.cuda.device_count()} GPUs")


def build_trainer(
    *,
    precision: str,
    devices: int,
    console: Console,
    callbacks: tuple[L.Callback, ...] = (),
    **kwargs: Any,
) -> L.Trainer:
    """Return a Trainer on the machine's accelerator, with the progress bar of this project.

    Args:
        precision: ``"float32"`` or ``"bf16"``.
        devices: how many; more than one run as processes of their own (DDP).
        console: for the progress.
        callbacks: besides the progress bar.
        **kwargs: of Lightning's ``Trainer``.
    """
    if not torch.cuda.is_available():
        keep_freed_memory()
    torch.set_float32_matmul_precision("high")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", message="Grad strides do not match")  # of one DDP bucket, no error
    return L.Trainer(
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        precision=PRECISIONS[precision],
        callbacks=[RunProgress(console), *callbacks],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        **kwargs,
    )


def default_workers(devices: int) -> int:
    """Return the loading processes for each device: the cores that training leaves over, 8 at most."""
    return min(8, max(1, (os.cpu_count() or 1) // devices - 1))
