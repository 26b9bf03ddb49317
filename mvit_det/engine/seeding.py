"""Seeds from the seed of a run and the position in it, with which a resumed run draws the same numbers."""

import random
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from mvit_det.engine.unreadable_images import UnreadableImages


def seed_generators(*key: int) -> None:
    """Seed the random generators of Python, NumPy and torch from the integers in ``key``."""
    state = np.random.SeedSequence(key).generate_state(2).tolist()
    random.seed(state[0])
    np.random.seed(state[0])
    torch.manual_seed(state[0] << 32 | state[1])


class SeededDataset(Dataset[Any]):
    """A data set whose random augmentation depends only on the seed and the position of a sample in the run.

    Its keys are (position, index) pairs.

    Args:
        dataset: the data set, which raises an InputError for an image that cannot be read.
        seed: the seed.
        skip_unreadable: use the next image in place of one that cannot be read, with a warning, instead of
            raising an error.
    """

    def __init__(self, dataset: Dataset[Any], seed: int, *, skip_unreadable: bool = False) -> None:
        self.dataset, self.seed = dataset, seed
        self.unreadable = UnreadableImages(len(self)) if skip_unreadable else None

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, key: tuple[int, int]) -> Any:
        position, index = key
        seed_generators(self.seed, position)
        if self.unreadable is None:
            return self.dataset[index]
        return self.unreadable.read_any(self.dataset.__getitem__, index)
