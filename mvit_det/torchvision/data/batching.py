"""Batches of images with similar aspect ratios, which need little padding."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor


class AspectRatioBatchSampler:
    """Batches of indexes that group wide images with wide images and tall images with tall ones.

    Each epoch has its own order, which follows from ``seed``. It covers every image and repeats some, so
    that every optimizer step of every process sees ``batch_size * accumulate`` images.

    Args:
        aspect_ratios: width / height of each image.
        batch_size: number of images in a batch.
        accumulate: number of batches in an optimizer step.
        rank: rank of this process.
        world_size: number of processes; they share each epoch.
        seed: seed of the order; it must be the same in all processes.
    """

    def __init__(
        self,
        aspect_ratios: list[float],
        batch_size: int,
        *,
        accumulate: int = 1,
        rank: int = 0,
        world_size: int = 1,
        seed: int = 0,
    ) -> None:
        self.is_wide = np.array(aspect_ratios) >= 1
        self.batch_size, self.rank, self.world_size, self.seed = batch_size, rank, world_size, seed
        self.epoch = 0
        step = batch_size * accumulate * world_size
        self.num_indexes = -(-len(aspect_ratios) // step) * step

    @property
    def sampler(self) -> "AspectRatioBatchSampler":
        """Itself: Lightning calls ``set_epoch`` on the ``sampler`` of a batch sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_indexes // (self.batch_size * self.world_size)

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng((self.seed, self.epoch))
        order = np.resize(random.permutation(len(self.is_wide)), self.num_indexes)
        order = order[np.argsort(self.is_wide[order], kind="stable")]
        batches = random.permutation(order.reshape(-1, self.batch_size))
        yield from batches[self.rank :: self.world_size].tolist()


def collate(samples: list[tuple[Tensor, Any]]) -> tuple[list[Tensor], list[Any]]:
    """Return the images and the targets of a batch as two lists; torchvision's detectors pad the images."""
    images, targets = zip(*samples, strict=True)
    return list(images), list(targets)
