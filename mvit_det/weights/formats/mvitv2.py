"""Classifiers of the MViTv2 repository, by the authors of the paper.

The names are ours, except that the last layer is called ``head.projection``.
"""

from collections.abc import Mapping

from torch import Tensor

from mvit_det.weights.formats.interface import Weights


def recognize(weights: Mapping[str, Tensor]) -> bool:
    """Return whether the weights have the names of the MViTv2 repository."""
    return "head.projection.weight" in weights


def to_our_names(weights: Mapping[str, Tensor]) -> Weights:
    """Return weights of the MViTv2 repository under our names."""
    return {key.replace("head.projection.", "head."): weight for key, weight in weights.items()}


def from_our_names(weights: Mapping[str, Tensor]) -> Weights:
    """Return the weights of a classifier or a backbone under the names of the MViTv2 repository."""
    return {
        f"head.projection.{key.removeprefix('head.')}" if key.startswith("head.") else key: weight
        for key, weight in weights.items()
    }
