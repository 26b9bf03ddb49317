"""Batches that follow from the seed and the step alone."""

import random
from itertools import islice

import numpy as np
import pytest
import torch

pytest.importorskip("detectron2.modeling", reason="Detectron2 is not installed")

from mvit_det.detectron2.data.train_loader import TrainLoader, numbered_batches
from mvit_det.errors import InputError

SAMPLES = [
    {"width": 3 if wide else 2, "height": 2 if wide else 3, "index": i} for i, wide in enumerate("11011010")
]


def draw(sample):
    """Stands for an augmentation with each of the three generators."""
    return sample | {"drawn": (random.random(), np.random.rand(), torch.rand(1).item())}


def first(loader, count=6):
    return [[(s["index"], s["drawn"]) for s in batch] for batch in islice(loader, count)]


def test_an_epoch_has_every_picture_and_a_batch_pictures_of_one_orientation():
    is_wide = [True] * 6 + [False] * 4
    batches = list(islice(numbered_batches(is_wide, 2, seed=0), 10))  # two epochs
    numbers = [number for batch in batches for number, _ in batch]
    indexes = [index for batch in batches for _, index in batch]
    assert sorted(numbers) == list(range(20))
    assert sorted(indexes) == sorted([*range(10), *range(10)])
    assert all(len({is_wide[index] for _, index in batch}) == 1 for batch in batches)
    assert batches[:5] != list(islice(numbered_batches(is_wide, 2, seed=1), 5))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_start_in_the_middle_goes_on_with_the_same_batches(num_workers):
    whole = first(TrainLoader(SAMPLES, draw, 2, seed=3))
    assert len({drawn for batch in whole for _, drawn in batch}) == 12  # no number drawn twice
    resumed = TrainLoader(SAMPLES, draw, 2, num_workers=num_workers, seed=3)
    resumed.start = 4
    assert first(resumed, 2) == whole[4:]


def test_processes_share_a_batch_between_them(monkeypatch):
    whole = first(TrainLoader(SAMPLES, draw, 2, seed=3))
    monkeypatch.setattr("detectron2.utils.comm.get_world_size", lambda: 2)
    shares = []
    for rank in (0, 1):
        monkeypatch.setattr("detectron2.utils.comm.get_rank", lambda rank=rank: rank)
        shares.append(first(TrainLoader(SAMPLES, draw, 2, seed=3)))
    assert [left + right for left, right in zip(*shares, strict=True)] == whole


def test_bad_input_is_named():
    with pytest.raises(InputError, match="no picture with an object"):
        TrainLoader([], draw, 2)
    with pytest.raises(InputError, match="total_batch_size 0: must be a multiple"):
        TrainLoader(SAMPLES, draw, 0)
