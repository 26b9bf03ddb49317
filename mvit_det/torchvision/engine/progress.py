"""The progress display of a run: losses, average precision and the remaining time."""

from collections.abc import Mapping
from typing import Any

import lightning as L
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
)
from rich.table import Column

from mvit_det.report.console import print_line
from mvit_det.report.time_left import TimeLeft
from mvit_det.torchvision.engine.evaluation_schedule import evaluated_epochs
from mvit_det.torchvision.engine.lightning_module import DetectorModule

NUM_LINES = 20  # progress lines that a run prints if the console is not a terminal

# Name of a group of losses on the display -> prefixes of the names of its losses.
LOSS_GROUPS = {
    "class": ("loss_classifier",),
    "box": ("loss_box_reg",),
    "mask": ("loss_mask",),
    "rpn": ("loss_objectness", "loss_rpn"),
}


class RunProgress(L.Callback):
    """Shows progress bars for the steps of a run and for each evaluation.

    If the console is not a terminal, it prints lines instead. The remaining time includes the evaluations.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=10),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[note]}", table_column=Column(no_wrap=True, overflow="ellipsis")),
            console=console,
            disable=not console.is_terminal,
        )

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, DetectorModule)
        assert pl_module.schedule is not None
        self.steps = pl_module.schedule.steps
        self.last_step = trainer.global_step
        self.time_left = self._build_time_left(trainer, pl_module)
        self.time_left.start(self.last_step)
        self.training = self.progress.add_task("training", total=self.steps, note="", left="")
        self.progress.update(self.training, completed=self.last_step)
        self.progress.start()

    def _build_time_left(self, trainer: L.Trainer, module: DetectorModule) -> TimeLeft:
        epochs, interval = trainer.max_epochs, trainer.check_val_every_n_epoch
        assert epochs is not None
        assert interval is not None
        if module.truth is None:
            return TimeLeft(self.steps, evaluations=[], evaluation_size=0)
        steps_per_epoch = self.steps // epochs
        evaluations = [epoch * steps_per_epoch for epoch in evaluated_epochs(epochs, interval)]
        evaluations.append(self.steps)  # that of the best checkpoint, after training
        assert trainer.train_dataloader is not None
        step_images = len(trainer.train_dataloader.dataset) / steps_per_epoch
        return TimeLeft(self.steps, evaluations, len(module.truth.imgs) / step_images)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        step = trainer.global_step
        if step == self.last_step:  # gradients are still accumulating
            return
        self.last_step = step
        self.time_left.end_step(step)
        is_due = step % max(1, self.steps // NUM_LINES) == 0 or step == self.steps
        if not (is_due or self.console.is_terminal):
            return
        note, left = format_losses(trainer.callback_metrics), str(self.time_left)
        self.progress.update(self.training, completed=step, note=note, left=left)
        if not self.console.is_terminal:
            print_line(self.console, f"step {step}/{self.steps}  {left}  {note}")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.progress.stop()
        self.progress.remove_task(self.training)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        total = sum(trainer.num_val_batches)
        self.evaluation = self.progress.add_task("evaluating", total=total, note="", left="")
        self.progress.start()
        if trainer.state.fn == "fit":
            self.time_left.start_evaluation()

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.progress.advance(self.evaluation)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, DetectorModule)
        self.progress.remove_task(self.evaluation)
        if trainer.state.fn == "validate":
            self.progress.stop()
            return
        self.time_left.end_evaluation()
        scores = ", ".join(f"{kind} AP {values['AP']}" for kind, values in pl_module.metrics.items())
        print_line(self.console, f"after step {trainer.global_step}: {scores}")

    def on_exception(self, *args: Any, **kwargs: Any) -> None:
        self.progress.stop()


def format_losses(metrics: Mapping[str, Any]) -> str:
    """Return the losses of a step, summed by group, as a short text."""
    losses = {name.removeprefix("train/"): float(value) for name, value in metrics.items()}
    groups = {
        group: [value for name, value in losses.items() if name.startswith(prefixes)]
        for group, prefixes in LOSS_GROUPS.items()
    }
    parts = (f"{group} {sum(values):.2f}" for group, values in groups.items() if values)  # masks: optional
    return f"loss {losses.get('loss', 0.0):.2f}: {' '.join(parts)}"
