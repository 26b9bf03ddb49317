"""The checks of images and objects that depend on the sizes of the images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from mvit_det.data.coco.annotations import Annotation, Array, Objects
from mvit_det.data.coco.box_format import check_box_format
from mvit_det.data.coco.edges import check_image_edges
from mvit_det.data.coco.fields import FieldError, shorten, to_number
from mvit_det.data.coco.image_entries import ImageEntry
from mvit_det.data.coco.image_sizes import images_that_do_not_fit, read_sizes, sizes_of, transform_to_upright
from mvit_det.data.coco.rle import check_rle
from mvit_det.data.images import ImageSize
from mvit_det.data.problems import ProblemCollector

MAX_AREA = 2  # times the area of the box, beyond which a stated area is not believed; masks are rounded


def check_entries(
    images: list[ImageEntry],
    objects: Objects,
    folder: Path | None,
    collector: ProblemCollector,
    *,
    clip: bool,
    actual: Mapping[int, ImageSize] | None = None,
) -> tuple[list[ImageEntry], Objects]:
    """Check the objects against their images, and complete their boxes and areas, in place.

    Args:
        images: the entries of the images.
        objects: the objects.
        folder: the folder of the images; None: do not look at the images.
        collector: receives the problems.
        clip: whether to clip what reaches over the edge of its image.
        actual: image id -> size of the image itself. None: look at the images whose objects do not fit.

    Returns:
        The images and the objects that can be used.

    Raises:
        InputError: if all boxes are of another convention.
    """
    by_id = {image["id"]: image for image in images}
    _complete_rle_sizes(by_id, objects, collector)
    unusable: set[int] = set()
    if folder is not None:
        if actual is None:
            misfits = images_that_do_not_fit(by_id, objects)
            actual = read_sizes(by_id, misfits, folder, collector)
            unusable = set(misfits) - set(actual)
        unusable |= transform_to_upright(by_id, objects, actual, folder, collector)
    if unusable:
        images = [image for image in images if image["id"] not in unusable]
        objects = objects.select(~np.isin(objects.image_ids, list(unusable)))
    objects = _check_rle_masks(objects, sizes_of(by_id, objects), collector)
    _complete_boxes(objects, collector)
    sizes = sizes_of(by_id, objects)
    check_box_format(objects, sizes, collector)
    objects = check_image_edges(objects, sizes, collector, clip=clip)
    _complete_areas(objects, collector)
    return images, objects


def _complete_rle_sizes(
    images: Mapping[int, ImageEntry], objects: Objects, collector: ProblemCollector
) -> None:
    for row, entry in enumerate(objects.entries):
        mask = entry.get("segmentation")
        if type(mask) is dict and not mask.get("size") and mask.get("counts"):
            image = images[entry["image_id"]]
            mask["size"] = [image["height"], image["width"]]
            message = f"is missing; it is that of the image, {mask['size']}"
            objects.report(collector, row, "mask_form", "segmentation.size", message)


def _check_rle_masks(objects: Objects, sizes: Array, collector: ProblemCollector) -> Objects:
    """Check the run-length encoded masks. Return the objects that can be used."""
    usable = np.ones(len(objects.entries), bool)
    for row, entry in enumerate(objects.entries):
        mask = entry.get("segmentation")
        if type(mask) is dict:
            width, height = sizes[row].astype(int).tolist()
            try:
                if check_rle(mask, "segmentation", {"width": width, "height": height}) == 0:
                    objects.report(collector, row, "flat_mask", "segmentation", "the mask has no pixels")
            except FieldError as error:
                objects.report(collector, row, error.kind, error.field, error.message)
                usable[row] = False
    return objects.select(usable)


def _complete_boxes(objects: Objects, collector: ProblemCollector) -> None:
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
        objects.report(collector, row, "missing_box", "bbox", message)


def _complete_areas(objects: Objects, collector: ProblemCollector) -> None:
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
            objects.report(collector, row, "area", "area", message)


def _area(objects: Objects, row: int) -> float:
    mask = objects.entries[row].get("segmentation")
    area = coco_mask.area(_compressed(mask)) if isinstance(mask, dict) else objects.polygon_area[row]
    return float(area or objects.boxes[row, 2:].prod())


def _compressed(rle: Annotation) -> Any:
    return coco_mask.frPyObjects(rle, *rle["size"]) if isinstance(rle["counts"], list) else rle
