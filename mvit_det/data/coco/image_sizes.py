"""Checks of the stated sizes of images against the images themselves."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mvit_det.data.coco.annotations import Annotations
from mvit_det.data.coco.frame_transforms import transform_annotations
from mvit_det.data.coco.frames import (
    TOLERANCE,
    choose_frame,
    extent_of,
    resized_images,
    rows_of_images,
)
from mvit_det.data.coco.image_entries import MAX_SIDE, ImageEntry
from mvit_det.data.coco.rle import rle_size
from mvit_det.data.images import ImageSize, read_size
from mvit_det.data.problems import ProblemCollector
from mvit_det.errors import InputError

# Frame of the annotations, from choose_frame -> what is done, for messages.
FRAMES = {
    "upright": "its annotations fit the image and are used as they are",
    "stored": "its annotations are turned by the EXIF orientation of the image",
    "resized": "its annotations are scaled to the image",
}


def sizes_of(images: Mapping[int, ImageEntry], annotations: Annotations) -> NDArray[np.float64]:
    """Return the (N, 2) width and height of the image of each annotation."""
    ids, positions = np.unique(annotations.image_ids, return_inverse=True)
    sizes = [(images[id_]["width"], images[id_]["height"]) for id_ in ids.tolist()]
    return np.array(sizes, np.float64).reshape(-1, 2)[positions]


def images_that_do_not_fit(images: Mapping[int, ImageEntry], annotations: Annotations) -> list[int]:
    """Return the ids of the images whose annotations do not fit the width and height in the file."""
    sizes = sizes_of(images, annotations)
    low = np.fmin(annotations.boxes[:, :2], annotations.bounds[:, :2])
    high = np.fmax(annotations.boxes[:, :2] + annotations.boxes[:, 2:], annotations.bounds[:, 2:])
    misfit = np.any((low < -TOLERANCE) | (high > sizes + TOLERANCE), axis=1)
    for row, entry in enumerate(annotations.entries):
        mask = entry.get("segmentation")
        if type(mask) is dict and rle_size(mask) != tuple(sizes[row].tolist()):
            misfit[row] = True
    return np.unique(annotations.image_ids[misfit]).tolist()


def read_sizes(
    images: Mapping[int, ImageEntry], ids: list[int], folder: Path, collector: ProblemCollector
) -> dict[int, ImageSize]:
    """Return image id -> size of those of the images ``ids`` that can be read."""

    def read(id_: int) -> ImageSize | InputError:
        try:
            return read_size(folder / images[id_]["file_name"])
        except InputError as error:
            return error

    sizes = {}
    with ThreadPoolExecutor() as pool:
        for id_, size in zip(ids, pool.map(read, ids), strict=True):
            if isinstance(size, ImageSize):
                sizes[id_] = size
            else:
                add_damaged_image(folder / images[id_]["file_name"], size, collector)
    return sizes


def add_damaged_image(path: Path, error: InputError, collector: ProblemCollector) -> None:
    """Add the problem of an image that cannot be read."""
    kind = "damaged_image" if os.path.exists(path) else "missing_image"
    collector.add_file(kind, path, str(error).removeprefix(f"{path}: "))


def transform_to_upright(
    images: Mapping[int, ImageEntry],
    annotations: Annotations,
    actual: Mapping[int, ImageSize],
    folder: Path,
    collector: ProblemCollector,
) -> set[int]:
    """Correct the stated sizes, and transform the annotations to the upright images, in place.

    Args:
        images: image id -> entry.
        annotations: the annotations.
        actual: image id -> size of the image file, of the images to look at.
        folder: the folder of the images.
        collector: receives the problems.

    Returns:
        The ids of the images that their annotations do not fit.
    """
    rows_of = rows_of_images(annotations, actual)
    stated = {id_: (images[id_]["width"], images[id_]["height"]) for id_ in actual}
    extents = {id_: extent_of(annotations, rows) for id_, rows in rows_of.items()}
    resized = resized_images(stated, actual, extents)
    unusable = set()
    for id_, size in actual.items():
        upright = (size.width, size.height)
        choice = choose_frame(stated[id_], size, extents[id_], id_ in resized)
        path = folder / images[id_]["file_name"]
        differs = (
            f"is {size.width} x {size.height} px upright, but the entry of images with the id {id_} says "
            f"{stated[id_][0]} x {stated[id_][1]}"
        )
        if choice is None or max(upright) > MAX_SIDE:
            collector.add_file("wrong_size", path, f"{differs}, and its annotations do not fit the image")
            unusable.add(id_)
            continue
        frame, matrix = choice
        if frame != "upright":
            source = stated[id_] if frame == "resized" else size.stored
            transform_annotations(annotations, rows_of[id_], matrix, frame, source, size)
        elif stated[id_] == upright:
            continue
        images[id_]["width"], images[id_]["height"] = upright
        message = FRAMES[frame] if stated[id_] == upright else f"{differs}; {FRAMES[frame]}"
        collector.add_file("size" if frame == "upright" else "frame", path, message)
    return unusable
