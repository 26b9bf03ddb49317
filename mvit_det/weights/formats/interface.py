"""What a format provides, and the names that all formats are translated to.

Our names are those of Detectron2. A backbone has the names of :class:`mvit_det.MViT`, a classifier those of
:class:`mvit_det.MViTClassifier`. A detector has the names of Detectron2's R-CNN models: the names of its
backbone begin with :data:`BACKBONE`, and the background is the last class.
"""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

Weights = dict[str, Tensor]

BACKBONE = "backbone.bottom_up."  # prefix of the backbone's names in a detector


class Format(Protocol):
    """The names that one publisher gives to the weights of an MViT; each format is a module."""

    def recognize(self, weights: Mapping[str, Tensor]) -> bool:
        """Return whether the weights have this publisher's names. Never raises."""
        ...

    def to_our_names(self, weights: Mapping[str, Tensor]) -> Weights:
        """Return the publisher's weights under our names.

        Raises:
            InputError: if no image network of ours can hold them. The message completes "the file holds ...".
        """
        ...

    def from_our_names(self, weights: Mapping[str, Tensor]) -> Weights:
        """Return weights with our names under the publisher's names: the inverse of :meth:`to_our_names`."""
        ...
