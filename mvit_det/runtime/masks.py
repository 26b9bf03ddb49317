"""Pasting of masks into the image."""

import math

import numpy as np
from numpy.typing import NDArray


def paste_masks(
    masks: NDArray[np.float32], boxes: NDArray[np.float32], shape: tuple[int, int], threshold: float
) -> NDArray[np.bool_]:
    """Return masks at the size of the image, (K, H, W), from the masks of boxes.

    The value of a pixel is interpolated bilinearly between the cells around its center; cells outside the
    box count as 0. The results are those of :func:`mvit_det.torchvision.models.masks.paste_masks`.

    Args:
        masks: (K, M, M) probabilities in the cells of each box.
        boxes: (K, 4) XYXY in px, inside the image and not empty.
        shape: (H, W) of the image, px.
        threshold: a pixel belongs to the object if its probability is at least this.
    """
    pasted = np.zeros((len(masks), *shape), bool)
    for image_mask, mask, (x1, y1, x2, y2) in zip(pasted, masks, boxes.tolist(), strict=True):
        left, top, right, bottom = int(x1), int(y1), math.ceil(x2), math.ceil(y2)
        rows = _cell_weights(top, bottom, y1, y2, len(mask))
        columns = _cell_weights(left, right, x1, x2, len(mask))
        image_mask[top:bottom, left:right] = rows @ mask @ columns.T >= threshold
    return pasted


def _cell_weights(first: int, last: int, low: float, high: float, num_cells: int) -> NDArray[np.float32]:
    """Return the weights of the cells from ``low`` to ``high`` px in pixels ``first`` to ``last - 1``."""
    centers = np.arange(first, last) + 0.5
    position = (centers - low) / (high - low) * num_cells - 0.5  # 0 at the center of the first cell
    distance = abs(position[:, None] - np.arange(num_cells))
    return np.maximum(1 - distance, 0).astype(np.float32)  # (pixels, cells)
