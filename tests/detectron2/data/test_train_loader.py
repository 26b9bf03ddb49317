"""Batches that depend only on the seed and the step."""

import random
from itertools import islice

import numpy as np
import pytest
import torch

from mvit_det.detectron2.data.train_loader import TrainLoader, grouped_batches
from mvit_det.errors import InputError

SAMPLES = [
    {"width": 3 if wide else 2, "height": 2 if wide else 3, "index": i} for i, wide in enumerate("11011010")
]


def augment(sample):
    """An augmentation that uses all three random generators."""
    return sample | {"random": (random.random(), np.random.rand(), torch.rand(1).item())}


def first_batches(loader, count=6):
    return [[(s["index"], s["random"]) for s in batch] for batch in islice(loader, count)]


def test_epoch_has_every_image_and_batch_has_one_orientation():
    is_wide = [True] * 6 + [False] * 4
    batches = list(islice(grouped_batches(is_wide, 2, seed=0), 10))  # two epochs
    positions = [position for batch in batches for position, _ in batch]
    indexes = [index for batch in batches for _, index in batch]
    assert sorted(positions) == list(range(20))
    assert sorted(indexes) == sorted([*range(10), *range(10)])
    assert all(len({is_wide[index] for _, index in batch}) == 1 for batch in batches)
    assert batches[:5] != list(islice(grouped_batches(is_wide, 2, seed=1), 5))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_loader_resumes_with_the_same_batches(num_workers):
    whole = first_batches(TrainLoader(SAMPLES, augment, 2, seed=3))
    assert len({numbers for batch in whole for _, numbers in batch}) == 12  # all are different
    resumed = TrainLoader(SAMPLES, augment, 2, num_workers=num_workers, seed=3)
    resumed.first_batch = 4
    assert first_batches(resumed, 2) == whole[4:]


def test_processes_split_each_batch(monkeypatch):
    whole = first_batches(TrainLoader(SAMPLES, augment, 2, seed=3))
    monkeypatch.setattr("detectron2.utils.comm.get_world_size", lambda: 2)
    shares = []
    for rank in (0, 1):
        monkeypatch.setattr("detectron2.utils.comm.get_rank", lambda rank=rank: rank)
        shares.append(first_batches(TrainLoader(SAMPLES, augment, 2, seed=3)))
    assert [left + right for left, right in zip(*shares, strict=True)] == whole


def test_bad_input_raises():
    with pytest.raises(InputError, match="no image with an object"):
        TrainLoader([], augment, 2)
    with pytest.raises(InputError, match="total_batch_size 0: must be a multiple"):
        TrainLoader(SAMPLES, augment, 0)
