"""Resizing of images to the length of their short side."""

from typing import Any

from detectron2.data import transforms as T
from numpy.typing import NDArray


class ResizeShortestEdge(T.ResizeShortestEdge):
    """Detectron2's ``ResizeShortestEdge`` in which no side of the result is less than 1 px.

    Detectron2's own fails for an image that is so long and thin that the limit on its long side makes the
    short side less than half a pixel.
    """

    def get_transform(self, image: NDArray[Any]) -> T.Transform:
        """Return the transform for an image (H, W, C)."""
        transform = super().get_transform(image)
        if isinstance(transform, T.ResizeTransform):
            transform.new_h, transform.new_w = max(1, transform.new_h), max(1, transform.new_w)
        return transform
