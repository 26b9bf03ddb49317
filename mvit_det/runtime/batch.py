"""Scaling of images, and their padding to a batch."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def make_batch(
    images: Sequence[NDArray[np.uint8]], shapes: Sequence[tuple[int, int]], padded: tuple[int, int]
) -> NDArray[np.float32]:
    """Scale images with Pillow's bilinear filter, and pad them with zeros at the bottom and the right.

    Args:
        images: (H, W, 3) RGB, of any sizes.
        shapes: (height, width) to which each image is scaled, px.
        padded: (height, width) of the batch, px.

    Returns:
        pixels in 0..255, (N, 3, height, width).
    """
    batch = np.zeros((len(images), 3, *padded), np.float32)
    for image, (height, width), pixels in zip(images, shapes, batch, strict=True):
        scaled = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
        pixels[:, :height, :width] = np.asarray(scaled).transpose(2, 0, 1)
    return batch
