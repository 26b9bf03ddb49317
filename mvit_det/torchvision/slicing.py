"""Detection in overlapping slices of a large image."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple, TypeVar

import numpy as np
import supervision as sv
from supervision.detection.compact_mask import CompactMask

from mvit_det.report.drawing import RgbImage
from mvit_det.torchvision.slice_merging import merge_slices

T = TypeVar("T")


class Slice(NamedTuple):
    """A part of an image.

    Attributes:
        number: number of the image, from 0.
        item: the item that contains the image.
        image: (H, W, 3) RGB, the whole image.
        box: left, top, right and bottom, px.
    """

    number: int
    item: Any
    image: RgbImage
    box: tuple[int, int, int, int]

    @property
    def pixels(self) -> RgbImage:
        left, top, right, bottom = self.box
        return self.image[top:bottom, left:right]


def detect_in_slices(
    detect: Callable[[Iterable[Slice]], Iterator[tuple[Slice, sv.Detections]]],
    items: Iterable[T],
    image_of: Callable[[T], RgbImage],
    size: int,
    overlap: float,
) -> Iterator[tuple[T, sv.Detections]]:
    """Detect the objects in the slices of images; yield each item with the detections of its whole image.

    Args:
        detect: function that detects the objects in the pixels of slices.
        items: items that contain an image.
        image_of: function from an item to its image.
        size: see :func:`slice_boxes`.
        overlap: see :func:`slice_boxes`.
    """
    slices = (
        Slice(number, item, image_of(item), box)
        for number, item in enumerate(items)
        for box in slice_boxes(image_of(item).shape[:2], size, overlap)
    )
    predictions = ((part, _to_image(detections, part)) for part, detections in detect(slices))
    for _, group in groupby(predictions, key=lambda prediction: prediction[0].number):
        parts, detections = zip(*group, strict=True)
        yield parts[0].item, merge_slices(detections, [part.box for part in parts])


def slice_boxes(image_hw: Sequence[int], size: int, overlap: float) -> list[tuple[int, int, int, int]]:
    """Return the slices of an image as left, top, right and bottom, row by row.

    All slices have the same shape. They are spread evenly, and together they cover the image.

    Args:
        image_hw: height and width of the image, px.
        size: width and height of a slice, px. An image that is smaller along an axis has one slice there.
        overlap: the smallest part of a slice that the next one covers, along an axis, in 0..1.
    """
    heights, widths = (_starts(side, size, overlap) for side in image_hw)
    height, width = (min(side, size) for side in image_hw)
    return [(left, top, left + width, top + height) for top in heights for left in widths]


def _starts(side: int, size: int, overlap: float) -> list[int]:
    stride = max(1, int(size * (1 - overlap)))
    steps = -(-max(0, side - size) // stride)
    return np.linspace(0, max(0, side - size), steps + 1).astype(int).tolist()


def _to_image(detections: sv.Detections, part: Slice) -> sv.Detections:
    """Move detections from a slice to its image, with masks that take memory only where the objects are."""
    moved: Any = detections[:]
    left, top, *_ = part.box
    moved.xyxy = moved.xyxy + np.array([left, top] * 2, moved.xyxy.dtype)
    if isinstance(moved.mask, np.ndarray):
        compact = CompactMask.from_dense(moved.mask, sv.mask_to_xyxy(moved.mask), moved.mask.shape[1:])
        moved.mask = compact.with_offset(left, top, part.image.shape[:2])
    return moved
