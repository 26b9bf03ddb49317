"""Samplers for :class:`mvit_det.detectron2.data.train_loader.TrainLoader`."""

from collections.abc import Sequence

import numpy as np
from detectron2.data.samplers import RepeatFactorTrainingSampler
from numpy.typing import NDArray

from mvit_det.detectron2.data.train_loader import Sample


class RepeatFactorSampler:
    """Repeats images of rare classes.

    A class that a fraction f of the images contains has the factor max(1, sqrt(``threshold`` / f)). The
    factor of an image is the largest of its classes: the mean number of its occurrences in an epoch. Its
    fractional part is the probability of one more occurrence.

    Source: LVIS, arXiv 1908.03195, Appendix B.2.

    Args:
        threshold: fraction of the images below which a class is rare.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.factors: NDArray[np.float32] | None = None

    def __call__(self, dataset: Sequence[Sample], generator: np.random.Generator) -> NDArray[np.int64]:
        """Return the indices of the images of one epoch, in a random order."""
        if self.factors is None:  # the data set is the same in every epoch
            compute = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency
            self.factors = compute(dataset, self.threshold).numpy()
        whole = np.floor(self.factors)
        extra = generator.random(len(whole)) < self.factors - whole
        return generator.permutation(np.repeat(np.arange(len(whole)), whole.astype(int) + extra))
