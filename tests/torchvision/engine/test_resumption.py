"""Runs of a model with one weight that end at any hook, and are resumed.

The steps of the weight depend on the data, on their augmentation and on random numbers.
"""

import csv
import random
import shutil

import lightning as L
import numpy as np
import pytest
import torch
from rich.console import Console
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from torch.utils.data import DataLoader

from mvit_det.engine.seeding import SeededDataset
from mvit_det.torchvision.data.batching import AspectRatioBatchSampler
from mvit_det.torchvision.engine.evaluation_schedule import EarlyStop, EvaluateLastEpoch
from mvit_det.torchvision.engine.last_checkpoint import LastCheckpoint, SaveInterval
from mvit_det.torchvision.engine.loggers import build_loggers
from mvit_det.torchvision.engine.resumption import Resumption, SeededBatches
from mvit_det.torchvision.engine.weight_averaging import AveragedWeights

EPOCHS, NUM_IMAGES = 3, 4
SCORES = [5.0, 3.0, 2.0]  # of the evaluations, the first of which is the best


class Noise(L.LightningModule):
    """A weight that changes by the sum of a batch and a random number in each batch."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
        self.truth, self.evaluations = None, {}

    def training_step(self, batch, batch_idx):
        self.log("train/loss", self.weight.detach().clone())
        return (self.weight * (batch.sum() + random.random() + np.random.rand() + torch.rand(1))).sum()

    def validation_step(self, batch, batch_idx):
        assert self.trainer.global_step not in self.evaluations, "evaluated twice"
        score = SCORES[len(self.evaluations)]
        self.evaluations[self.trainer.global_step] = (self.trainer.current_epoch, self.weight.item())
        self.log("val/box_AP", score)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1.0)

    def on_save_checkpoint(self, checkpoint):
        checkpoint["evaluations"] = dict(self.evaluations)

    def on_load_checkpoint(self, checkpoint):
        self.evaluations = dict(checkpoint["evaluations"])


class Augmented:
    """The number of each image, plus a random number."""

    def __len__(self):
        return NUM_IMAGES

    def __getitem__(self, index):
        return index + torch.rand(1, dtype=torch.float64)


class Killed(BaseException):
    """Stands for the end of the process."""


class KillAt(L.Callback):
    """Counts the hooks that are called, and raises at the one with this number."""

    def __init__(self, number):
        self.number, self.count = number, 0

    def kill(self, *arguments):
        self.count += 1
        if self.count == self.number:
            raise Killed

    on_train_batch_start = on_train_batch_end = on_before_optimizer_step = kill
    on_validation_start = on_validation_batch_end = on_validation_end = on_train_epoch_end = kill


class KillAfterSaving(KillAt):
    """The same, after the callbacks that write checkpoints."""

    on_train_batch_start = on_validation_start = on_train_epoch_end = KillAt.kill


def fit(folder, kill_at=(), *, accumulate=1, workers=0, save_every="1", patience=9, ema=None, eval_every=1):
    """Train, resume the run if there is a checkpoint, or else start it again; return the module."""
    sampler = AspectRatioBatchSampler([1.0] * NUM_IMAGES, 1, accumulate=accumulate, seed=3)
    loader = DataLoader(
        SeededDataset(Augmented(), 3),
        batch_sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    last = folder / "last.ckpt"
    if not last.exists():
        shutil.rmtree(folder, ignore_errors=True)
    callbacks = [
        Resumption(sampler, folder / "logs"),
        SeededBatches(3),
        EvaluateLastEpoch(),
        EarlyStop(patience, Console(quiet=True)),
        *([] if ema is None else [AveragedWeights(ema)]),
        LastCheckpoint(last, SaveInterval.parse(save_every)),
    ]
    trainer = L.Trainer(
        callbacks=[*callbacks, *kill_at],
        accelerator="cpu",
        logger=build_loggers(folder, None),
        log_every_n_steps=1,
        max_epochs=EPOCHS,
        accumulate_grad_batches=accumulate,
        check_val_every_n_epoch=eval_every,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    module = Noise()
    ckpt_path = last if last.exists() else None
    trainer.fit(module, loader, DataLoader([0.0]), ckpt_path=ckpt_path, weights_only=True)
    return module


def logs(folder):
    """Return the rows of the CSV files and the scalars of the event files, each in order."""
    rows, scalars = [], []
    for path in folder.glob("logs/version_*/metrics.csv"):
        with path.open(newline="") as file:
            rows += [sorted((name, v) for name, v in row.items() if v) for row in csv.DictReader(file)]
    for path in folder.glob("logs/version_*/events.out.tfevents.*"):
        for event in LegacyEventFileLoader(str(path)).Load():
            scalars += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
    return sorted(rows), sorted(scalar for scalar in scalars if scalar[1] != "hp_metric")


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"accumulate": 2, "ema": 0.5, "eval_every": 2, "save_every": "2"},
        {"save_every": "60m", "patience": 1},
        {"accumulate": 3, "save_every": "0.00001m"},
    ],
    ids=["every step", "every second step", "every epoch", "always"],
)
def test_a_run_that_ends_at_any_hook_is_resumed_exactly(tmp_path, options):
    counts = (KillAt(0), KillAfterSaving(0))
    expected, (rows, scalars) = fit(tmp_path / "whole", counts, **options), logs(tmp_path / "whole")
    for kind, count in zip((KillAt, KillAfterSaving), counts, strict=True):
        for number in range(1, count.count + 1, 5):
            folder = tmp_path / f"{kind.__name__}_{number}"
            with pytest.raises(Killed):
                fit(folder, (kind(number),), **options)
            with pytest.raises(Killed):
                fit(folder, (KillAt(2),), **options)
            module = fit(folder, **options)
            assert module.weight.item() == expected.weight.item(), number
            assert module.evaluations == expected.evaluations, number
            assert logs(folder)[0] == rows, number
            assert logs(folder)[1] == scalars, number
