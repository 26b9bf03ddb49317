"""Batches that depend only on the seed and the step."""

import random
from itertools import islice

import numpy as np
import pytest
import torch

from mvit_det.detectron2.data.sampling import RepeatFactorSampler
from mvit_det.detectron2.data.train_loader import TrainLoader
from mvit_det.errors import InputError

SAMPLES = [
    {"width": 2 + wide, "height": 3 - wide, "index": i} for i, wide in enumerate((1, 1, 0, 1, 1, 0, 1, 0))
]


def augment(sample):
    """An augmentation that uses all three random generators."""
    return sample | {"random": (random.random(), np.random.rand(), torch.rand(1).item())}


def first_batches(loader, count=6):
    return [[(s["index"], s["random"]) for s in batch] for batch in islice(loader, count)]


def test_epoch_has_every_image_and_batch_has_one_orientation():
    def two_epochs(seed):
        loader = TrainLoader(SAMPLES, augment, 2, seed=seed)  # 5 wide, 3 tall
        return [[sample["index"] for sample in batch] for batch in islice(loader, 8)]

    batches = two_epochs(seed=0)
    assert sorted(sum(batches, [])) == sorted([*range(8), *range(8)])
    assert all(len({index in (2, 5, 7) for index in batch}) == 1 for batch in batches)
    assert batches[:4] != two_epochs(seed=1)[:4]


def tall_twice(dataset, generator):
    """A sampler: wide images occur once, tall ones twice."""
    tall = [index for index, sample in enumerate(dataset) if sample["width"] < sample["height"]]
    return generator.permutation([*range(len(dataset)), *tall])


@pytest.mark.parametrize("sampler", [None, tall_twice, RepeatFactorSampler(0.5)])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_loader_resumes_with_the_same_batches(num_workers, sampler):
    samples = [
        sample | {"annotations": [{"category_id": int(index == 0)}]} for index, sample in enumerate(SAMPLES)
    ]
    whole = first_batches(TrainLoader(samples, augment, 2, seed=3, sampler=sampler))
    assert len({numbers for batch in whole for _, numbers in batch}) == 12  # all are different
    resumed = TrainLoader(samples, augment, 2, num_workers=num_workers, seed=3, sampler=sampler)
    resumed.first_batch = 4
    assert first_batches(resumed, 2) == whole[4:]


def test_sampler_determines_the_images_of_an_epoch():
    loader = TrainLoader(SAMPLES, augment, 1, seed=0, sampler=tall_twice)
    first, second = (
        [batch[0][0] for batch in first_batches(loader, 22)][part : part + 11] for part in (0, 11)
    )
    assert sorted(first) == sorted(second) == [0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 7]
    assert first != second
    for indices in ([], [0, 8], [-1], [0.5]):
        bad = TrainLoader(SAMPLES, augment, 1, seed=0, sampler=lambda *_, indices=indices: indices)
        with pytest.raises(InputError, match="dataloader.train.sampler: expected indices from 0 to 7"):
            next(iter(bad))


def test_repeat_factors_of_rare_classes():
    # Class 0 is in all 16 images and has the factor 1. Class 1 is in one: sqrt(0.390625 / (1 / 16)) = 2.5.
    dataset = [{"annotations": [{"category_id": 0}]} for _ in range(16)]
    dataset[3]["annotations"] += [{"category_id": 1}] * 2
    dataset.append({"annotations": []})
    sampler = RepeatFactorSampler(0.390625 * 16 / 17)
    counts = [
        np.bincount(sampler(dataset, np.random.default_rng((5, epoch))), minlength=17) for epoch in range(200)
    ]
    assert sampler.factors.tolist() == [1, 1, 1, 2.5, *[1] * 13]
    assert all((np.delete(count, 3) == 1).all() for count in counts)
    assert {int(count[3]) for count in counts} == {2, 3}
    assert np.mean([count[3] for count in counts]) == pytest.approx(2.5, abs=0.1)  # 2.8 standard deviations


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


def test_an_image_that_cannot_be_read_is_an_error_or_is_skipped(caplog):
    def read(sample):
        if sample["file_name"] == "1.png":
            raise InputError("1.png: no such image")
        return sample

    samples = [{"file_name": f"{number}.png", "width": 9, "height": 9} for number in range(3)]
    with pytest.raises(InputError, match=r"^1\.png: no such image$"):
        list(islice(TrainLoader(samples, read, 1, seed=0), 3))
    batches = list(islice(TrainLoader(samples, read, 1, seed=0, skip_unreadable=True), 6))
    assert sorted(sample["file_name"] for [sample] in batches) == ["0.png"] * 2 + ["2.png"] * 4
    assert caplog.text.count("1.png: no such image; another image is used in its place (1 image so far)") == 1
