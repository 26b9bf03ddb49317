"""The training step: gradient accumulation, mixed precision, clipping, and a stop at a non-finite loss."""

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NoReturn

import torch
from detectron2.engine import SimpleTrainer
from detectron2.utils import comm
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from mvit_det.detectron2.data.train_loader import Sample, TrainLoader
from mvit_det.engine.precision import PRECISIONS
from mvit_det.engine.seeding import seed_generators
from mvit_det.engine.stop_request import StopRequest
from mvit_det.errors import ImageError, counted, out_of_memory_summary

NOT_FINITE = "a lower optimizer.lr, train.clip_norm=1 or train.amp.precision=bf16 may help"


class Trainer(SimpleTrainer):
    """Detectron2's ``SimpleTrainer`` with gradient accumulation, mixed precision and clipping.

    A loss that is not finite, or a lack of memory, stops the run with one line that names the images.

    Args:
        model: a detector that returns a dict of losses, each a mean over its input images.
        loader: the batches of this process.
        optimizer: an optimizer of the parameters of ``model``.
        accumulate: number of parts into which a batch is split to save memory. The accumulated gradients
            equal those of the whole batch.
        precision: ``"bf16"`` or ``"fp16"`` for autocast, or None for float32.
        clip_norm: maximum norm of the gradient, or None for no limit.
        seed: makes the random numbers that are drawn in a step depend only on the seed, the step and the
            process. With None, they are not seeded.
    """

    def __init__(
        self,
        model: nn.Module,
        loader: TrainLoader,
        optimizer: Optimizer,
        *,
        accumulate: int = 1,
        precision: str | None = None,
        clip_norm: float | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(model, loader, optimizer)
        self.accumulate, self.clip_norm, self.seed = accumulate, clip_norm, seed
        self.stop_request = StopRequest()
        self.dtype = PRECISIONS[precision or "float32"]
        self.device = next(model.parameters()).device.type
        # bf16 has the range of float32 and needs no gradient scaling.
        self.scaler = torch.amp.GradScaler(self.device, enabled=precision == "fp16")

    def run_step(self) -> None:
        start = time.perf_counter()
        batch = self._next_batch()
        data_time = time.perf_counter() - start
        if self.seed is not None:
            seed_generators(self.seed, self.iter, comm.get_rank())

        self.optimizer.zero_grad()
        totals: dict[str, Tensor] = {}
        for index in range(self.accumulate):
            part = batch[index :: self.accumulate]
            share = len(part) / len(batch)
            with self._sync(is_last=index == self.accumulate - 1), self._explain_out_of_memory(part):
                losses = self._losses(part)
                self.scaler.scale(torch.stack([*losses.values()]).sum() * share).backward()
            for name, loss in losses.items():
                totals[name] = totals.get(name, 0) + loss.detach() * share
        self.after_backward()
        if self.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self._write_metrics(totals, data_time)

    def _next_batch(self) -> list[Sample]:
        """Return the next batch of this process.

        Raises:
            ImageError: in all processes, if one of them cannot read an image of its batch.
        """
        batch: list[Sample] = []
        error: ImageError | None = None
        try:
            batch = next(self._data_loader_iter)
        except ImageError as caught:
            error = caught
        self.stop_request.agreed(has_failed=error is not None)
        if self.stop_request.has_failed:
            self.iter -= 1  # the last step that was run, which is what a checkpoint contains
            raise error or ImageError("another process of the run cannot read an image")
        return batch

    def _sync(self, is_last: bool) -> AbstractContextManager[Any]:
        """Return a context in which the processes exchange gradients only after the last part."""
        if isinstance(self.model, DistributedDataParallel) and not is_last:
            return self.model.no_sync()
        return nullcontext()

    @contextmanager
    def _explain_out_of_memory(self, part: list[Sample]) -> Iterator[None]:
        try:
            yield
        except torch.OutOfMemoryError as error:
            sizes = ", ".join(" x ".join(map(str, sample["image"].shape[1:])) for sample in part)
            self._stop(
                f"{out_of_memory_summary(error)}, for {counted(len(part), 'image')} of {sizes} px",
                part,
                "model.backbone.bottom_up.recompute=cheap or =block, a higher train.accumulate, a lower "
                "dataloader.train.total_batch_size or smaller images need less memory",
            )

    def _losses(self, part: list[Sample]) -> dict[str, Tensor]:
        try:
            with torch.autocast(self.device, self.dtype, enabled=self.dtype is not None):
                losses: dict[str, Tensor] = self.model(part)
        except FloatingPointError as error:  # raised by Detectron2's check of the proposals
            self._stop(str(error), part, NOT_FINITE)
        if not torch.stack([loss.detach().float() for loss in losses.values()]).isfinite().all():
            bad = [f"{name} is {loss.item()}" for name, loss in losses.items() if not loss.isfinite()]
            self._stop(", ".join(bad), part, NOT_FINITE)
        return losses

    def _stop(self, reason: str, part: list[Sample], remedy: str) -> NoReturn:
        images = ", ".join(sample["file_name"] for sample in part)
        message = (
            f"stopped at step {self.iter}: {reason}; the images were {images}; the last checkpoint is "
            f"intact; {remedy}"
        )
        logging.getLogger(__name__).error(message)
        # The log of the main process is on the terminal; those of the other processes are only in files.
        raise SystemExit(1 if comm.is_main_process() else message)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"grad_scaler": self.scaler.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        if state_dict["grad_scaler"] and self.scaler.is_enabled():
            self.scaler.load_state_dict(state_dict["grad_scaler"])
