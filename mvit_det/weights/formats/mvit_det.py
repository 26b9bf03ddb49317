"""Backbones and classifiers of this project, under our own names.

The state dict of ``detectron2.modeling.MViT`` has the same names.
"""

from collections.abc import Mapping

from torch import Tensor

from mvit_det.weights.formats.interface import Weights


def recognize(weights: Mapping[str, Tensor]) -> bool:
    """Return whether the weights have the names of an MViT of this project."""
    return "patch_embed.proj.weight" in weights and "blocks.0.attn.pool_k.weight" in weights


def to_our_names(weights: Mapping[str, Tensor]) -> Weights:
    """Return the weights unchanged."""
    return dict(weights)


def from_our_names(weights: Mapping[str, Tensor]) -> Weights:
    """Return the weights unchanged."""
    return dict(weights)
