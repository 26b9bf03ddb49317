"""Training batches that depend on the seed and the step alone: a run can stop and go on with the same."""

import random
from collections.abc import Callable, Iterator
from itertools import count, islice
from typing import Any

import numpy as np
import torch
from detectron2.data import DatasetFromList
from detectron2.data.detection_utils import SizeMismatchError
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset

from mvit_det.errors import InputError

Sample = dict[str, Any]  # of Detectron2: a picture with its objects


class TrainLoader:
    """Endless batches of one process, in place of Detectron2's ``build_detection_train_loader``.

    Every picture comes once an epoch, in a new order; wide pictures go with wide ones and tall with
    tall. What a batch holds and how its pictures are augmented follows from the seed and the number
    of the batch, whatever the number of processes and workers; ``start`` is the first number.

    Args:
        dataset: Detectron2's dicts, one for each picture, with ``width`` and ``height``.
        mapper: reads and augments a picture, with any of Python's, NumPy's and torch's generators.
        total_batch_size: pictures in a batch, over all processes.
        num_workers: loading processes.
        seed: None draws one from NumPy's generator, which ``train.seed`` sets.

    Raises:
        InputError: if there is no picture, or the processes do not divide the batch.
    """

    def __init__(
        self,
        dataset: list[Sample],
        mapper: Callable[[Sample], Sample],
        total_batch_size: int,
        num_workers: int = 0,
        seed: int | None = None,
    ) -> None:
        if not dataset:
            raise InputError("the training set holds no picture with an object")
        world_size = comm.get_world_size()
        if total_batch_size < 1 or total_batch_size % world_size:
            raise InputError(
                f"total_batch_size {total_batch_size}: must be a multiple of {world_size} processes"
            )
        self.is_wide = [sample["width"] >= sample["height"] for sample in dataset]
        self.batch_size, self.num_workers = total_batch_size, num_workers
        self.seed = comm.shared_random_seed() if seed is None else seed
        self.pictures = _Pictures(dataset, mapper, self.seed)
        self.start = 0

    def __iter__(self) -> Iterator[list[Sample]]:
        rank, world_size = comm.get_rank(), comm.get_world_size()
        batches = islice(numbered_batches(self.is_wide, self.batch_size, self.seed), self.start, None)
        loader: DataLoader[Any] = DataLoader(
            self.pictures,
            batch_sampler=(batch[rank::world_size] for batch in batches),
            num_workers=self.num_workers,
            collate_fn=list,
            pin_memory=torch.cuda.is_available(),
        )
        return iter(loader)


class _Pictures(Dataset[Sample]):
    def __init__(self, dataset: list[Sample], mapper: Callable[[Sample], Sample], seed: int) -> None:
        self.samples = DatasetFromList(dataset, copy=False)
        self.mapper, self.seed = mapper, seed

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        number, index = key
        seed_generators(self.seed, number)
        sample = self.samples[index]
        try:
            return self.mapper(sample)
        except (OSError, SizeMismatchError, ValueError) as error:
            raise InputError(f"{sample['file_name']}: cannot be used: {error}") from None


def numbered_batches(is_wide: list[bool], batch_size: int, seed: int) -> Iterator[list[tuple[int, int]]]:
    """Yield endless batches of (number of the picture in the whole run, index in the data set)."""
    number = 0
    waiting: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
    for epoch in count():
        for index in np.random.default_rng((seed, epoch)).permutation(len(is_wide)).tolist():
            group = waiting[is_wide[index]]
            group.append((number, index))
            number += 1
            if len(group) == batch_size:
                yield group.copy()
                group.clear()


def seed_generators(*key: int) -> None:
    """Set Python's, NumPy's and torch's random generators to a state that ``key`` alone decides."""
    state = np.random.SeedSequence(key).generate_state(2).tolist()
    random.seed(state[0])
    np.random.seed(state[0])
    torch.manual_seed(state[0] << 32 | state[1])
