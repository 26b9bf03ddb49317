"""A training data loader whose batches depend only on the seed and the step.

A resumed run therefore receives the batches that the interrupted run would have received.
"""

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

Sample = dict[str, Any]  # Detectron2's format: an image and its objects


class TrainLoader:
    """An infinite data loader that replaces Detectron2's ``build_detection_train_loader``.

    Each process receives its share of every batch. Every image occurs once per epoch, in a new order. The
    images of a batch are all wide or all tall. The contents of a batch and its augmentation depend only on
    the seed and the index of the batch, not on the number of processes or workers. Iteration starts at the
    batch with the index ``first_batch``.

    Args:
        dataset: one dict per image in Detectron2's format, with ``width`` and ``height``.
        mapper: reads and augments an image. It may use the random generators of Python, NumPy and torch.
        total_batch_size: number of images in a batch, over all processes.
        num_workers: number of data loading processes.
        seed: seed of order and augmentation. With None, it is drawn from NumPy's generator, which
            ``train.seed`` seeds.

    Raises:
        InputError: if the data set is empty, or if the batch cannot be split evenly over the processes.
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
            raise InputError("the training set contains no image with an object")
        world_size = comm.get_world_size()
        if total_batch_size < 1 or total_batch_size % world_size:
            raise InputError(
                f"total_batch_size {total_batch_size}: must be a multiple of {world_size} processes"
            )
        self.is_wide = [sample["width"] >= sample["height"] for sample in dataset]
        self.batch_size, self.num_workers = total_batch_size, num_workers
        self.seed = comm.shared_random_seed() if seed is None else seed
        self.dataset = _SeededDataset(dataset, mapper, self.seed)
        self.first_batch = 0

    def __iter__(self) -> Iterator[list[Sample]]:
        rank, world_size = comm.get_rank(), comm.get_world_size()
        batches = islice(grouped_batches(self.is_wide, self.batch_size, self.seed), self.first_batch, None)
        loader: DataLoader[Any] = DataLoader(
            self.dataset,
            batch_sampler=(batch[rank::world_size] for batch in batches),
            num_workers=self.num_workers,
            collate_fn=list,
            pin_memory=torch.cuda.is_available(),
        )
        return iter(loader)


class _SeededDataset(Dataset[Sample]):
    """Samples whose augmentation depends only on the seed and their position in the run."""

    def __init__(self, dataset: list[Sample], mapper: Callable[[Sample], Sample], seed: int) -> None:
        self.samples = DatasetFromList(dataset, copy=False)
        self.mapper, self.seed = mapper, seed

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        position, index = key
        seed_generators(self.seed, position)
        sample = self.samples[index]
        try:
            return self.mapper(sample)
        except (OSError, SizeMismatchError, ValueError) as error:
            raise InputError(f"{sample['file_name']}: cannot be used: {error}") from None


def grouped_batches(is_wide: list[bool], batch_size: int, seed: int) -> Iterator[list[tuple[int, int]]]:
    """Yield batches of images that are all wide or all tall, without end.

    Args:
        is_wide: for each image of the data set, whether it is wide.
        batch_size: number of images in a batch.
        seed: seed of the order.

    Yields:
        for each image of a batch, its position in the whole run and its index in the data set.
    """
    position = 0
    groups: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
    for epoch in count():
        for index in np.random.default_rng((seed, epoch)).permutation(len(is_wide)).tolist():
            group = groups[is_wide[index]]
            group.append((position, index))
            position += 1
            if len(group) == batch_size:
                yield group.copy()
                group.clear()


def seed_generators(*key: int) -> None:
    """Seed the random generators of Python, NumPy and torch from the integers in ``key``."""
    state = np.random.SeedSequence(key).generate_state(2).tolist()
    random.seed(state[0])
    np.random.seed(state[0])
    torch.manual_seed(state[0] << 32 | state[1])
