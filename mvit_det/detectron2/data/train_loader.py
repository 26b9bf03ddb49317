"""A training data loader whose batches depend only on the seed and the step.

A resumed run therefore receives the batches that the interrupted run would have received.
"""

import reprlib
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from typing import Any

import numpy as np
import torch
from detectron2.data import DatasetFromList
from detectron2.data.detection_utils import SizeMismatchError
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset

from mvit_det.engine.loading_processes import prepare_loading_process
from mvit_det.engine.seeding import SeededDataset
from mvit_det.errors import ImageError, InputError

Sample = dict[str, Any]  # Detectron2's format: an image and its objects
# Returns the indices of the images of one epoch in their order, from the data set and a random generator.
Sampler = Callable[[Sequence[Sample], np.random.Generator], Sequence[int]]


class TrainLoader:
    """An infinite data loader that replaces Detectron2's ``build_detection_train_loader``.

    Each process receives its share of every batch. Every image occurs once per epoch, in a new order, unless
    ``sampler`` says otherwise. The images of a batch are all wide or all tall. The contents of a batch and
    its augmentation depend only on the seed and the index of the batch, not on the number of processes or
    workers. Iteration starts at the batch with the index ``first_batch``.

    Args:
        dataset: one dict per image in Detectron2's format, with ``width`` and ``height``.
        mapper: reads and augments an image. It may use the random generators of Python, NumPy and torch.
        total_batch_size: number of images in a batch, over all processes.
        num_workers: number of data loading processes.
        seed: seed of order and augmentation. With None, it is drawn from NumPy's generator, which
            ``train.seed`` seeds.
        sampler: function from the data set and a random generator to the indices of the images of one
            epoch, in their order. An index may occur several times or not at all. Each epoch has its own
            generator, seeded from ``seed`` and the number of the epoch. With None, every image occurs once.
        skip_unreadable: use the next image in place of one that cannot be read, with a warning, instead of
            raising an error.

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
        sampler: Sampler | None = None,
        skip_unreadable: bool = False,
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
        mapped = MappedSamples(dataset, mapper)
        self.samples = mapped.samples
        self.dataset = SeededDataset(mapped, self.seed, skip_unreadable=skip_unreadable)
        self.sampler = sampler
        self.first_batch = 0

    def __iter__(self) -> Iterator[list[Sample]]:
        rank, world_size = comm.get_rank(), comm.get_world_size()
        batches = islice(grouped_batches(self._epoch, self.is_wide, self.batch_size), self.first_batch, None)
        loader: DataLoader[Any] = DataLoader(
            self.dataset,
            batch_sampler=(batch[rank::world_size] for batch in batches),
            num_workers=self.num_workers,
            collate_fn=list,
            worker_init_fn=prepare_loading_process,
            pin_memory=torch.cuda.is_available(),
        )
        return iter(loader)

    def _epoch(self, number: int) -> list[int]:
        """Return the indices of the images of one epoch, in their order."""
        generator = np.random.default_rng((self.seed, number))
        num_images = len(self.is_wide)
        if self.sampler is None:
            return generator.permutation(num_images).tolist()
        indices = np.asarray(self.sampler(self.samples, generator)).tolist()
        if not indices or not all(isinstance(i, int) and 0 <= i < num_images for i in indices):
            raise InputError(
                f"dataloader.train.sampler: expected indices from 0 to {num_images - 1}, at least one; it "
                f"returned {reprlib.repr(indices)}"
            )
        return indices


class MappedSamples(Dataset[Sample]):
    """The samples of a data set as :func:`map_sample` returns them."""

    def __init__(self, dataset: list[Sample], mapper: Callable[[Sample], Sample]) -> None:
        self.samples, self.mapper = DatasetFromList(dataset, copy=False), mapper

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return map_sample(self.mapper, self.samples[index])


def map_sample(mapper: Callable[[Sample], Sample], sample: Sample) -> Sample:
    """Return ``mapper(sample)``.

    Raises:
        ImageError: if the image cannot be used, in place of the exceptions of Detectron2's own mapper.
    """
    try:
        return mapper(sample)
    except InputError as error:  # names the file
        raise ImageError(str(error)) from None
    except (OSError, SizeMismatchError, ValueError) as error:
        raise ImageError(f"{sample['file_name']}: cannot be used: {error}") from None


def grouped_batches(
    epoch: Callable[[int], Sequence[int]], is_wide: Sequence[bool], batch_size: int
) -> Iterator[list[tuple[int, int]]]:
    """Yield batches of images that are all wide or all tall, without end.

    Args:
        epoch: function from the number of an epoch to the indices of its images, in their order.
        is_wide: for each image of the data set, whether it is wide.
        batch_size: number of images in a batch.

    Yields:
        for each image of a batch, its position in the whole run and its index in the data set.
    """
    position = 0
    groups: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
    for number in count():
        for index in epoch(number):
            group = groups[is_wide[index]]
            group.append((position, index))
            position += 1
            if len(group) == batch_size:
                yield group.copy()
                group.clear()
