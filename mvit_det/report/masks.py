"""Masks of objects, drawn half transparent."""

from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from supervision.detection.compact_mask import CompactMask

from mvit_det.report.colors import Color

OPACITY = 0.5


def draw_masks(
    image: NDArray[np.uint8], masks: Iterable[NDArray[np.bool_]], colors: Sequence[Color]
) -> NDArray[np.uint8]:
    """Return a copy of an image with masks in half-transparent colors. Smaller masks cover larger ones.

    Args:
        image: (H, W, 3) RGB.
        masks: K masks (H, W), of which only the parts with objects are kept in memory, or supervision's
            ``CompactMask``.
        colors: K colors.
    """
    crops = []
    for number, (region, crop) in enumerate(_crops(masks), start=1):
        crops.append((np.count_nonzero(crop), number, region, crop))
    owners = np.zeros(image.shape[:2], np.int32)  # number of the mask of each pixel, 0 for the background
    for _, number, region, crop in sorted(crops, key=lambda each: -each[0]):
        owners[region][crop] = number
    colored = np.array([(0, 0, 0), *colors], np.uint8).take(owners, axis=0)
    drawn = image.copy()
    is_object = (owners > 0).view(np.uint8)
    cv2.copyTo(cv2.addWeighted(colored, OPACITY, image, 1 - OPACITY, 0), is_object, drawn)
    return drawn


def _crops(
    masks: Iterable[NDArray[np.bool_]],
) -> Iterator[tuple[tuple[slice, slice], NDArray[np.bool_]]]:
    """Yield the region of each object, and its mask there."""
    if isinstance(masks, CompactMask):
        for index, (x, y) in enumerate(masks.offsets.tolist()):
            crop = masks.crop(index)
            yield np.s_[y : y + crop.shape[0], x : x + crop.shape[1]], crop
        return
    for mask in masks:
        x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
        region = np.s_[y : y + height, x : x + width]
        yield region, mask[region].copy()
