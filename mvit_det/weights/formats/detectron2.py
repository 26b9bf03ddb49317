"""Detectors of Detectron2, and backbones that were saved under the names of a detector.

A detector already has our names. In a file that contains only a backbone, such as one that
``mvit-det convert`` writes for ``train.init_checkpoint``, all names begin with :data:`BACKBONE`.
"""

from collections.abc import Mapping

from torch import Tensor

from mvit_det.weights.formats.interface import BACKBONE, Weights


def recognize(weights: Mapping[str, Tensor]) -> bool:
    """Return whether the weights have the names of a detector in Detectron2."""
    return any(key.startswith(BACKBONE) for key in weights)


def to_our_names(weights: Mapping[str, Tensor]) -> Weights:
    """Return weights of Detectron2 under our names: those of a backbone lose the prefix."""
    if all(key.startswith(BACKBONE) for key in weights):
        return {key.removeprefix(BACKBONE): weight for key, weight in weights.items()}
    return dict(weights)


def from_our_names(weights: Mapping[str, Tensor]) -> Weights:
    """Return weights under the names of a detector in Detectron2: those of a backbone get the prefix."""
    if recognize(weights):
        return dict(weights)
    return {BACKBONE + key: weight for key, weight in weights.items()}
