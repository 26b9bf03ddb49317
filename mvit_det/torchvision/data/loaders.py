"""The data loaders of training and evaluation."""

import os
from typing import Any

import torch
from torch.utils.data import DataLoader, Subset

from mvit_det.data.dataset import Dataset
from mvit_det.engine.loading_processes import prepare_loading_process
from mvit_det.engine.seeding import SeededDataset
from mvit_det.engine.unreadable_images import ReadableDataset
from mvit_det.torchvision.data.augmentation import Augmentation, to_float
from mvit_det.torchvision.data.batching import AspectRatioBatchSampler, collate
from mvit_det.torchvision.data.dataset import CocoDataset

MAX_WORKERS = 8  # loading processes per device


def build_train_loader(
    data: Dataset,
    augment: Augmentation,
    batch_size: int,
    *,
    with_masks: bool = True,
    accumulate: int = 1,
    rank: int = 0,
    world_size: int = 1,
    seed: int = 0,
    workers: int | None = None,
    skip_unreadable: bool = False,
) -> DataLoader[Any]:
    """Return the data loader for the training batches of one process.

    The batches and their augmentation depend only on ``seed`` and the position in the run, not on
    ``workers``. A resumed run starts after the batches of the earlier one: see
    :meth:`AspectRatioBatchSampler.skip`.

    Args:
        data: the training set.
        augment: augmentation of each image and its objects.
        batch_size: number of images in a batch.
        with_masks: whether the targets have masks.
        accumulate: see :class:`AspectRatioBatchSampler` for this argument and the next three.
        workers: number of loading processes; None chooses it by the number of CPU cores.
        skip_unreadable: use the next image in place of one that cannot be read, with a warning, instead of
            raising an error.
    """
    dataset = CocoDataset(data.coco, data.images, augment, with_masks=with_masks)
    batches = AspectRatioBatchSampler(
        dataset.aspect_ratios(),
        batch_size,
        accumulate=accumulate,
        rank=rank,
        world_size=world_size,
        seed=seed,
    )
    workers = _default_workers(world_size) if workers is None else workers
    return DataLoader(
        SeededDataset(dataset, seed, skip_unreadable=skip_unreadable),
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=workers,
        worker_init_fn=prepare_loading_process,
        persistent_workers=workers > 0,
    )


def build_val_loader(
    data: Dataset,
    *,
    rank: int = 0,
    world_size: int = 1,
    workers: int | None = None,
    skip_unreadable: bool = False,
) -> DataLoader[Any]:
    """Return the data loader for the images of a validation set that one process evaluates, one per batch.

    All processes get the same number of images. If the data set does not divide evenly, its first images are
    repeated.

    Args:
        data: the validation set.
        rank: rank of the process.
        world_size: number of processes.
        workers: number of loading processes; None chooses it by the number of CPU cores if there is a
            GPU, and 0 otherwise.
        skip_unreadable: return an empty batch in place of an image that cannot be read, with a warning,
            instead of raising an error.
    """
    dataset = CocoDataset(data.coco, data.images, to_float, with_masks=False)
    total = -(-len(dataset) // world_size) * world_size
    indices = [index % len(dataset) for index in range(rank, total, world_size)]
    subset: Subset[Any] = Subset(dataset, indices)
    share = ReadableDataset(subset) if skip_unreadable else subset
    if workers is None:
        # Without a GPU, forked processes would keep copies of the memory that the model overwrites.
        workers = _default_workers(world_size) if torch.cuda.is_available() else 0
    return DataLoader(share, collate_fn=collate, num_workers=workers, worker_init_fn=prepare_loading_process)


def _default_workers(world_size: int) -> int:
    """Return the number of CPU cores per process, less one for the process itself, from 1 to 8."""
    return min(MAX_WORKERS, max(1, (os.cpu_count() or 1) // world_size - 1))
