"""Batches of images with similar aspect ratios, which need little padding."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor


class AspectRatioBatchSampler:
    """Yields batches that group wide images with wide images and tall images with tall ones.

    ``seed`` and the epoch determine the order. Each epoch covers every image and repeats some, so that
    every process gets ``batch_size * accumulate`` images for every optimizer step. A batch is a list of
    (position, index) pairs: the position of the sample in the whole run, and the index of its image.

    Args:
        aspect_ratios: width / height of each image.
        batch_size: number of images in a batch.
        accumulate: number of batches in an optimizer step.
        rank: rank of this process.
        world_size: number of processes; they share each epoch.
        seed: seed of the order; must be the same in all processes.
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
        self.epoch, self.first_batch = 0, 0
        step_images = batch_size * accumulate * world_size
        self.num_indexes = -(-len(aspect_ratios) // step_images) * step_images

    @property
    def sampler(self) -> "AspectRatioBatchSampler":
        """Itself: Lightning calls ``set_epoch`` on the ``sampler`` of a batch sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        if epoch != self.epoch:
            self.epoch, self.first_batch = epoch, 0

    def skip(self, num_batches: int) -> None:
        """Start after the first ``num_batches`` batches of the run, as a resumed run does."""
        self.epoch, self.first_batch = divmod(num_batches, len(self))

    def __len__(self) -> int:
        return self.num_indexes // (self.batch_size * self.world_size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        random = np.random.default_rng((self.seed, self.epoch))
        order = np.resize(random.permutation(len(self.is_wide)), self.num_indexes)
        order = order[np.argsort(self.is_wide[order], kind="stable")]
        batches = random.permutation(order.reshape(-1, self.batch_size))
        positions = self.epoch * self.num_indexes + np.arange(self.num_indexes).reshape(batches.shape)
        for batch in range(self.rank + self.first_batch * self.world_size, len(batches), self.world_size):
            yield list(zip(positions[batch].tolist(), batches[batch].tolist(), strict=True))


def collate(samples: list[tuple[Tensor, Any] | None]) -> tuple[list[Tensor], list[Any]]:
    """Return the images and the targets of a batch as two lists; torchvision's detectors pad the images.

    Samples that are None are left out.
    """
    kept = [sample for sample in samples if sample is not None]
    return [image for image, _ in kept], [target for _, target in kept]
