"""The checks of images and annotations that depend on the sizes of the images."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

from mvit_det.data.coco.annotations import Annotations, Array
from mvit_det.data.coco.box_format import check_box_format
from mvit_det.data.coco.edges import check_image_edges
from mvit_det.data.coco.fields import FieldError, shorten, to_number
from mvit_det.data.coco.image_entries import ImageEntry
from mvit_det.data.coco.image_sizes import images_that_do_not_fit, read_sizes, sizes_of, transform_to_upright
from mvit_det.data.coco.rle import check_rle, compressed
from mvit_det.data.images import ImageSize
from mvit_det.data.problems import ProblemCollector

MAX_AREA = 2  # times the area of the box, beyond which a stated area is not believed; masks are rounded


def check_entries(
    images: list[ImageEntry],
    annotations: Annotations,
    folder: Path | None,
    collector: ProblemCollector,
    *,
    clip: bool,
    actual: Mapping[int, ImageSize] | None = None,
) -> tuple[list[ImageEntry], Annotations]:
    """Check the annotations against their images, and complete their boxes and areas, in place.

    Args:
        images: the entries of the images.
        annotations: the annotations.
        folder: the folder of the images; None: do not look at the images.
        collector: receives the problems.
        clip: whether to clip what reaches over the edge of its image.
        actual: image id -> size of the image itself. None: look at the images that their annotations
            do not fit.

    Returns:
        The images and the annotations that can be used.

    Raises:
        InputError: if all boxes are of another convention.
    """
    by_id = {image["id"]: image for image in images}
    _complete_rle_sizes(by_id, annotations, collector)
    unusable: set[int] = set()
    if folder is not None:
        if actual is None:
            misfits = images_that_do_not_fit(by_id, annotations)
            actual = read_sizes(by_id, misfits, folder, collector)
            unusable = set(misfits) - set(actual)
        unusable |= transform_to_upright(by_id, annotations, actual, folder, collector)
    if unusable:
        images = [image for image in images if image["id"] not in unusable]
        annotations = annotations.select(~np.isin(annotations.image_ids, list(unusable)))
    annotations = _check_rle_masks(annotations, sizes_of(by_id, annotations), collector)
    _complete_boxes(annotations, collector)
    sizes = sizes_of(by_id, annotations)
    check_box_format(annotations, sizes, collector)
    annotations = check_image_edges(annotations, sizes, collector, clip=clip)
    _complete_areas(annotations, collector)
    return images, annotations


def _complete_rle_sizes(
    images: Mapping[int, ImageEntry], annotations: Annotations, collector: ProblemCollector
) -> None:
    for row, entry in enumerate(annotations.entries):
        mask = entry.get("segmentation")
        if type(mask) is dict and not mask.get("size") and mask.get("counts"):
            image = images[entry["image_id"]]
            mask["size"] = [image["height"], image["width"]]
            message = f"is missing; it is that of the image, {mask['size']}"
            annotations.report(collector, row, "mask_form", "segmentation.size", message)


def _check_rle_masks(annotations: Annotations, sizes: Array, collector: ProblemCollector) -> Annotations:
    """Check the run-length encoded masks. Return the annotations that can be used."""
    usable = np.ones(len(annotations.entries), bool)
    shapes = sizes.astype(int).tolist()
    for row, (entry, (width, height)) in enumerate(zip(annotations.entries, shapes, strict=True)):
        mask = entry.get("segmentation")
        if type(mask) is dict:
            try:
                if check_rle(mask, "segmentation", {"width": width, "height": height}) == 0:
                    annotations.report(collector, row, "flat_mask", "segmentation", "the mask has no pixels")
            except FieldError as error:
                annotations.report(collector, row, error.kind, error.field, error.message)
                usable[row] = False
    return annotations.select(usable)


def _complete_boxes(annotations: Annotations, collector: ProblemCollector) -> None:
    for row in np.flatnonzero(np.isnan(annotations.boxes[:, 0])).tolist():
        entry = annotations.entries[row]
        mask = entry["segmentation"]
        if isinstance(mask, dict):
            annotations.boxes[row] = coco_mask.toBbox(compressed(mask))
        else:
            bounds = annotations.bounds[row]
            annotations.boxes[row] = np.concatenate([bounds[:2], bounds[2:] - bounds[:2]])
        entry["bbox"] = annotations.boxes[row].tolist()
        message = f"is missing; it is that of the mask, {entry['bbox']}"
        annotations.report(collector, row, "missing_box", "bbox", message)


def _complete_areas(annotations: Annotations, collector: ProblemCollector) -> None:
    limits = MAX_AREA * annotations.boxes[:, 2:].prod(1) + 1
    for row, (entry, limit) in enumerate(zip(annotations.entries, limits.tolist(), strict=True)):
        area = entry.get("area")
        if (type(area) is float or type(area) is int) and 0 < area <= limit:
            continue
        number = to_number(area)
        if number is not None and 0 < number <= limit:  # in a string
            entry["area"] = number
            continue
        entry["area"] = _area(annotations, row)
        if area is not None:
            message = f"{shorten(area)} is not the area of the object, which is {entry['area']:g}"
            annotations.report(collector, row, "area", "area", message)


def _area(annotations: Annotations, row: int) -> float:
    mask = annotations.entries[row].get("segmentation")
    area = coco_mask.area(compressed(mask)) if isinstance(mask, dict) else annotations.polygon_area[row]
    return float(area or annotations.boxes[row, 2:].prod())
