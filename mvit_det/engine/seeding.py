"""Seeds from the seed of a run and the position in it, with which a resumed run draws the same numbers."""

import random

import numpy as np
import torch


def seed_generators(*key: int) -> None:
    """Seed the random generators of Python, NumPy and torch from the integers in ``key``."""
    state = np.random.SeedSequence(key).generate_state(2).tolist()
    random.seed(state[0])
    np.random.seed(state[0])
    torch.manual_seed(state[0] << 32 | state[1])
