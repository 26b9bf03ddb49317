"""Warnings of images that are much larger or smaller than the size to which they are resized."""

from collections.abc import Sequence

import numpy as np

from mvit_det.data.dataset import Dataset
from mvit_det.data.problems import Problem

MAX_FACTOR = 4  # images that are resized by a larger factor, up or down, are reported


def find_unusual_sizes(dataset: Dataset, limits: Sequence[tuple[int, int]]) -> list[Problem]:
    """Return a problem for each image that is resized by more than a factor of 4.

    Args:
        dataset: the data set.
        limits: short side to which an image is resized, and the limit on its long side, px. If there are
            several pairs, an image is compared with the one that is nearest to its size.
    """
    if not limits:
        return []
    entries = dataset.coco.dataset["images"]
    sizes = np.array([(image["width"], image["height"]) for image in entries])
    each = np.array([np.minimum(short / sizes.min(1), long / sizes.max(1)) for short, long in limits])
    nearest = abs(np.log(each)).argmin(0)
    factors = each[nearest, np.arange(len(sizes))]
    problems = []
    for kind, unusual in (("large_image", factors < 1 / MAX_FACTOR), ("small_image", factors > MAX_FACTOR)):
        for row in np.flatnonzero(unusual).tolist():
            width, height = sizes[row].tolist()
            short_side, long_side = limits[nearest[row]]
            message = (
                f"is {width} x {height} px, and is resized by a factor of {factors[row]:.2g} to a short side "
                f"of {short_side} px or a long side of {long_side} px"
            )
            problems.append(Problem(kind, dataset.images / entries[row]["file_name"], "", message))
    return problems
