"""The interface of a format, and the names to which every format translates.

Our names are those of the parameters in Detectron2. A backbone has the names of :class:`mvit_det.MViT`, a
classifier those of :class:`mvit_det.MViTClassifier`, and a detector those of Detectron2's R-CNN models. In a
detector, the names of the backbone begin with :data:`BACKBONE`, and the background is the last class.
"""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

Weights = dict[str, Tensor]

BACKBONE = "backbone.bottom_up."  # prefix of the backbone in a detector


class Format(Protocol):
    """The functions of a format, which is a module: they translate the names of one publisher."""

    def recognize(self, weights: Mapping[str, Tensor]) -> bool:
        """Return whether the weights have this publisher's names. Never raises."""
        ...

    def to_our_names(self, weights: Mapping[str, Tensor]) -> Weights:
        """Return the publisher's weights under our names.

        Raises:
            InputError: if none of our models can load them. The message completes "the file holds ...".
        """
        ...

    def from_our_names(self, weights: Mapping[str, Tensor]) -> Weights:
        """Return weights under the publisher's names; this is the inverse of :meth:`to_our_names`."""
        ...
