"""Backbones and classifiers of this project, under our own names.

``detectron2.modeling.MViT`` has the same names, so this is also the format of its state dict.
"""

from collections.abc import Mapping

from torch import Tensor

from mvit_det.weights.formats.interface import Weights


def recognize(weights: Mapping[str, Tensor]) -> bool:
    """Return whether the weights are those of an MViT under our names."""
    return "patch_embed.proj.weight" in weights and "blocks.0.attn.pool_k.weight" in weights


def to_our_names(weights: Mapping[str, Tensor]) -> Weights:
    """Return the weights as they are."""
    return dict(weights)


def from_our_names(weights: Mapping[str, Tensor]) -> Weights:
    """Return the weights as they are."""
    return dict(weights)
