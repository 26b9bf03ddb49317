"""The checks of images and objects that depend on the sizes of the images."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from mvit_det.data.conventions import check_conventions
from mvit_det.data.edges import check_edges, check_rle_masks
from mvit_det.data.fields import shorten, to_number
from mvit_det.data.frames import (
    TOLERANCE,
    choose_frame,
    extent_of,
    objects_of_images,
    resized_images,
    rle_size,
    transform_objects,
)
from mvit_det.data.image_cache import ImageSize
from mvit_det.data.image_entries import MAX_SIDE
from mvit_det.data.images import read_size
from mvit_det.data.objects import Annotation, Objects
from mvit_det.data.problems import Findings
from mvit_det.errors import InputError

Image = dict[str, Any]

MAX_AREA = 2  # times the area of the box, beyond which a stated area is not believed; masks are rounded

FRAMES = {
    "upright": "its annotations fit the image and are used as they are",
    "stored": "its annotations are turned by the EXIF orientation of the image",
    "resized": "its annotations are scaled to the image",
}


def check_entries(
    images: list[Image],
    objects: Objects,
    folder: Path | None,
    findings: Findings,
    *,
    clip: bool,
    actual: Mapping[int, ImageSize] | None = None,
) -> tuple[list[Image], Objects]:
    """Check the objects against their images, and complete their boxes and areas, in place.

    Args:
        images: the entries of the images.
        objects: the objects.
        folder: the folder of the images; None: do not look at the images.
        findings: receives the problems.
        clip: whether to clip what reaches over the edge of its image.
        actual: image id -> size of the image itself. None: look at the images whose objects do not fit.

    Returns:
        The images and the objects that can be used.

    Raises:
        InputError: if all boxes are of another convention.
    """
    by_id = {image["id"]: image for image in images}
    _complete_rle_sizes(by_id, objects, findings)
    unusable: set[int] = set()
    if folder is not None:
        if actual is None:
            actual = _read_sizes(by_id, _misfits(by_id, objects), folder, findings, unusable)
        unusable |= _settle_frames(by_id, objects, actual, folder, findings)
    if unusable:
        images = [image for image in images if image["id"] not in unusable]
        objects = objects.select(~np.isin(objects.image_ids, list(unusable)))
    objects = check_rle_masks(objects, _sizes_of(by_id, objects), findings)
    _complete_boxes(objects, findings)
    sizes = _sizes_of(by_id, objects)
    check_conventions(objects, sizes, findings)
    objects = check_edges(objects, sizes, findings, clip=clip)
    _complete_areas(objects, findings)
    return images, objects


def _sizes_of(images: Mapping[int, Image], objects: Objects) -> NDArray[np.float64]:
    """Return the (N, 2) width and height of the image of each object."""
    ids, positions = np.unique(objects.image_ids, return_inverse=True)
    sizes = [(images[id_]["width"], images[id_]["height"]) for id_ in ids.tolist()]
    return np.array(sizes, np.float64).reshape(-1, 2)[positions]


def _misfits(images: Mapping[int, Image], objects: Objects) -> list[int]:
    """Return the ids of the images whose objects do not fit in the stated size."""
    sizes = _sizes_of(images, objects)
    low = np.fmin(objects.boxes[:, :2], objects.bounds[:, :2])
    high = np.fmax(objects.boxes[:, :2] + objects.boxes[:, 2:], objects.bounds[:, 2:])
    misfit = np.any((low < -TOLERANCE) | (high > sizes + TOLERANCE), axis=1)
    for row, entry in enumerate(objects.entries):
        mask = entry.get("segmentation")
        if type(mask) is dict and rle_size(mask) != tuple(sizes[row].tolist()):
            misfit[row] = True
    return np.unique(objects.image_ids[misfit]).tolist()


def _read_sizes(
    images: Mapping[int, Image], ids: list[int], folder: Path, findings: Findings, unusable: set[int]
) -> dict[int, ImageSize]:
    """Return image id -> size of the images ``ids``. Add to ``unusable`` those that cannot be read."""

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
                add_damaged(folder / images[id_]["file_name"], size, findings)
                unusable.add(id_)
    return sizes


def add_damaged(path: Path, error: InputError, findings: Findings) -> None:
    """Add the problem of an image that cannot be read."""
    kind = "damaged_image" if os.path.exists(path) else "missing_image"
    findings.add_file(kind, path, str(error).removeprefix(f"{path}: "))


def _settle_frames(
    images: Mapping[int, Image],
    objects: Objects,
    actual: Mapping[int, ImageSize],
    folder: Path,
    findings: Findings,
) -> set[int]:
    """Bring sizes and annotations to the upright images, in place. Return the ids of unusable images."""
    rows_of = objects_of_images(objects, actual)
    stated = {id_: (images[id_]["width"], images[id_]["height"]) for id_ in actual}
    extents = {id_: extent_of(objects, rows) for id_, rows in rows_of.items()}
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
            findings.add_file("wrong_size", path, f"{differs}, and its annotations do not fit the image")
            unusable.add(id_)
            continue
        frame, matrix = choice
        if frame != "upright":
            transform_objects(objects, rows_of[id_], matrix, frame, size)
        elif stated[id_] == upright:
            continue
        images[id_]["width"], images[id_]["height"] = upright
        message = FRAMES[frame] if stated[id_] == upright else f"{differs}; {FRAMES[frame]}"
        findings.add_file("size" if frame == "upright" else "frame", path, message)
    return unusable


def _complete_rle_sizes(images: Mapping[int, Image], objects: Objects, findings: Findings) -> None:
    for row, entry in enumerate(objects.entries):
        mask = entry.get("segmentation")
        if type(mask) is dict and not mask.get("size") and mask.get("counts"):
            image = images[entry["image_id"]]
            mask["size"] = [image["height"], image["width"]]
            message = f"is missing; it is that of the image, {mask['size']}"
            findings.add(
                "mask_form", "annotations", int(objects.index[row]), entry, message, "segmentation.size"
            )


def _complete_boxes(objects: Objects, findings: Findings) -> None:
    for row in np.flatnonzero(np.isnan(objects.boxes[:, 0])).tolist():
        entry = objects.entries[row]
        mask = entry["segmentation"]
        if isinstance(mask, dict):
            objects.boxes[row] = coco_mask.toBbox(_compressed(mask))
        else:
            bounds = objects.bounds[row]
            objects.boxes[row] = np.concatenate([bounds[:2], bounds[2:] - bounds[:2]])
        entry["bbox"] = objects.boxes[row].tolist()
        message = f"is missing; it is that of the mask, {entry['bbox']}"
        findings.add("missing_box", "annotations", int(objects.index[row]), entry, message, "bbox")


def _complete_areas(objects: Objects, findings: Findings) -> None:
    limits = MAX_AREA * objects.boxes[:, 2:].prod(1) + 1
    for row, (entry, limit) in enumerate(zip(objects.entries, limits.tolist(), strict=True)):
        area = entry.get("area")
        if (type(area) is float or type(area) is int) and 0 < area <= limit:
            continue
        number = to_number(area)
        if number is not None and 0 < number <= limit:  # in a string
            entry["area"] = number
            continue
        entry["area"] = _area(objects, row)
        if area is not None:
            message = f"{shorten(area)} is not the area of the object, which is {entry['area']:g}"
            findings.add("area", "annotations", int(objects.index[row]), entry, message, "area")


def _area(objects: Objects, row: int) -> float:
    mask = objects.entries[row].get("segmentation")
    area = coco_mask.area(_compressed(mask)) if isinstance(mask, dict) else objects.polygon_area[row]
    return float(area or objects.boxes[row, 2:].prod())


def _compressed(rle: Annotation) -> Any:
    return coco_mask.frPyObjects(rle, *rle["size"]) if isinstance(rle["counts"], list) else rle
