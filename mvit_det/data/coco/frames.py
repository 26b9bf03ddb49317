"""The frame that annotations are in, where the stated size of an image is not that of the upright image.

Annotation tools differ in whether they apply the EXIF orientation, and images are resized after annotation.
The annotations themselves tell their frame: the one in which they fit.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mvit_det.data.coco.annotations import Annotations
from mvit_det.data.coco.rle import rle_size
from mvit_det.data.images import ImageSize

TOLERANCE = 1.0  # px that an object may reach over the edge of its image; COCO's own objects do
MAX_ASPECT_DIFFERENCE = 0.01  # relative; sides are rounded to whole pixels when an image is resized

# EXIF orientation -> how Pillow turns the stored pixels upright, and the map of a point (x, y) in a stored
# image of w x h px: each row has the factors of x, y, w and h.
ORIENTATIONS = {
    1: (None, ((1, 0, 0, 0), (0, 1, 0, 0))),
    2: (Image.Transpose.FLIP_LEFT_RIGHT, ((-1, 0, 1, 0), (0, 1, 0, 0))),
    3: (Image.Transpose.ROTATE_180, ((-1, 0, 1, 0), (0, -1, 0, 1))),
    4: (Image.Transpose.FLIP_TOP_BOTTOM, ((1, 0, 0, 0), (0, -1, 0, 1))),
    5: (Image.Transpose.TRANSPOSE, ((0, 1, 0, 0), (1, 0, 0, 0))),
    6: (Image.Transpose.ROTATE_270, ((0, -1, 0, 1), (1, 0, 0, 0))),
    7: (Image.Transpose.TRANSVERSE, ((0, -1, 0, 1), (-1, 0, 1, 0))),
    8: (Image.Transpose.ROTATE_90, ((0, 1, 0, 0), (-1, 0, 1, 0))),
}


@dataclass(frozen=True)
class Extent:
    """What the annotations of one image cover.

    Attributes:
        low: smallest x and y, px.
        high: largest x and y, px.
        rle_sizes: (width, height) of the RLE masks.
        num_annotations: the number of annotations.
    """

    low: tuple[float, float] = (0.0, 0.0)
    high: tuple[float, float] = (0.0, 0.0)
    rle_sizes: frozenset[Any] = frozenset()
    num_annotations: int = 0

    def fits(self, size: tuple[int, int]) -> bool:
        """Whether the annotations are inside an image of (width, height) px."""
        return (
            min(self.low) >= -TOLERANCE
            and all(high <= side + TOLERANCE for high, side in zip(self.high, size, strict=True))
            and self.rle_sizes <= {size}
        )


def rows_of_images(annotations: Annotations, image_ids: Iterable[int]) -> dict[int, NDArray[np.int64]]:
    """Return image id -> positions of its annotations in ``annotations``."""
    rows = np.flatnonzero(np.isin(annotations.image_ids, np.array(sorted(image_ids), np.int64)))
    groups: dict[int, list[int]] = {id_: [] for id_ in image_ids}
    for row in rows.tolist():
        groups[int(annotations.image_ids[row])].append(row)
    return {id_: np.array(group, np.int64) for id_, group in groups.items()}


def extent_of(annotations: Annotations, rows: NDArray[np.int64]) -> Extent:
    """Return what the annotations at the positions ``rows`` cover."""
    if not len(rows):
        return Extent()
    boxes, bounds = annotations.boxes[rows], annotations.bounds[rows]
    low = np.concatenate([boxes[:, :2], bounds[:, :2]])
    high = np.concatenate([boxes[:, :2] + boxes[:, 2:], bounds[:, 2:]])
    low, high = np.fmin.reduce(low), np.fmax.reduce(high)
    sizes = set()
    for row in rows.tolist():
        mask = annotations.entries[row].get("segmentation")
        if isinstance(mask, dict):
            sizes.add(rle_size(mask))
    return Extent(
        (float(np.nan_to_num(low[0])), float(np.nan_to_num(low[1]))),
        (float(np.nan_to_num(high[0])), float(np.nan_to_num(high[1]))),
        frozenset(sizes),
        len(rows),
    )


def resized_images(
    stated: Mapping[int, tuple[int, int]], actual: Mapping[int, ImageSize], extents: Mapping[int, Extent]
) -> set[int]:
    """Return the ids of the images whose annotations were made before the images were resized.

    Annotations of a smaller image also fit a larger one. So images that were resized by the same factor are
    judged together. Their annotations are in the stated sizes if all of them fit these sizes and, in
    addition, either some do not fit the images themselves, or there are at least 10 of them and they reach
    90 % of a stated width and of a stated height.
    """
    groups: dict[float, list[int]] = defaultdict(list)
    for id_, (width, height) in stated.items():
        size = actual[id_]
        factor = size.width / width
        if size.stored != (width, height) and abs(size.height / height / factor - 1) <= MAX_ASPECT_DIFFERENCE:
            groups[round(factor, 2)].append(id_)
    resized: set[int] = set()
    for factor, ids in groups.items():
        if factor == 1 or not all(extents[id_].fits(stated[id_]) for id_ in ids):
            continue
        outside = any(not extents[id_].fits((actual[id_].width, actual[id_].height)) for id_ in ids)
        filled = [max(extents[id_].high[axis] / stated[id_][axis] for id_ in ids) >= 0.9 for axis in (0, 1)]
        if outside or (sum(extents[id_].num_annotations for id_ in ids) >= 10 and all(filled)):
            resized.update(ids)
    return resized


def choose_frame(
    stated: tuple[int, int], actual: ImageSize, extent: Extent, resized: bool
) -> tuple[str, NDArray[np.float64]] | None:
    """Return the name of the frame of the annotations, and the (2, 3) map from it to the upright image.

    The frame is ``"upright"``, ``"stored"`` or ``"resized"``.

    Args:
        stated: width and height in the entry of the image.
        actual: the size of the image.
        extent: what the annotations cover.
        resized: whether the image was resized after annotation.

    Returns:
        None if the annotations fit no frame.
    """
    upright = (actual.width, actual.height)
    frames = {
        "upright": np.eye(2, 3),
        "stored": _upright_map(actual),
        "resized": np.diag([upright[0] / stated[0], upright[1] / stated[1]]) @ np.eye(2, 3),
    }
    on_its_side = actual.orientation >= 5
    if resized:
        return "resized", frames["resized"]
    if on_its_side and stated == actual.stored != upright:
        name = "upright" if extent.fits(upright) and not extent.fits(stated) else "stored"
        return name, frames[name]
    if extent.fits(upright):
        return "upright", frames["upright"]
    if on_its_side and extent.fits(actual.stored):
        return "stored", frames["stored"]
    return ("upright", frames["upright"]) if stated == upright else None


def _upright_map(size: ImageSize) -> NDArray[np.float64]:
    width, height = size.stored
    _, rows = ORIENTATIONS[size.orientation]
    return np.array([(x, y, w * width + h * height) for x, y, w, h in rows], np.float64)
