"""The check of the image files of a data set, and of the sizes that its entries state."""

import os
from dataclasses import replace
from typing import Any

from mvit_det.data.coco.annotations import read_annotations
from mvit_det.data.coco.entry_checks import check_entries
from mvit_det.data.coco.image_sizes import add_damaged_image
from mvit_det.data.coco.index import index_coco
from mvit_det.data.dataset import Dataset
from mvit_det.data.image_cache import Track, read_images
from mvit_det.data.images import ImageSize
from mvit_det.data.json_files import paused_garbage_collection
from mvit_det.data.problems import ProblemCollector, stop_at
from mvit_det.errors import InputError


def check_images(
    dataset: Dataset,
    track: Track,
    *,
    drop_invalid: bool = False,
) -> Dataset:
    """Read every image of a data set that has not been read before.

    If an image does not have the stated size, the frame in which its annotations fit is used: that of the
    upright image, of the stored pixels before the EXIF orientation is applied, or of the image before it was
    resized. Annotations are then transformed to the upright image.

    Args:
        dataset: the data set.
        track: function from an iterable and its length to the same items, which shows progress.
        drop_invalid: drop images that cannot be used, with their annotations, and clip objects that reach
            over the edge, instead of raising an error.

    Returns:
        The data set of the images that can be used, with the size of each image. ``problems`` has what was
        found in addition.

    Raises:
        InputError: if an image is missing or damaged, or has another size than stated and its annotations do
            not fit it, and ``drop_invalid`` is false; or if no image can be used.
    """
    if not dataset.images.is_dir():
        raise InputError(f"{dataset.images}: no such folder of images")
    collector = ProblemCollector(dataset.source)
    data = dataset.coco.dataset
    checked = read_images(dataset.images, [image["file_name"] for image in data["images"]], track)
    dropped: set[int] = set()
    differing: dict[int, ImageSize] = {}
    for image, found in zip(data["images"], checked, strict=True):
        path = dataset.images / image["file_name"]
        if isinstance(found, InputError):
            add_damaged_image(path, found, collector)
            dropped.add(image["id"])
            continue
        for kind, message in found.warnings.items():
            collector.add_file(kind, path, message)
        if (found.size.width, found.size.height) != (image["width"], image["height"]):
            differing[image["id"]] = found.size
    if not dropped and not differing:
        if not collector.problems:
            return dataset
        return replace(dataset, problems=(*dataset.problems, *collector.problems))
    with paused_garbage_collection():
        images, annotations = _change_sizes(dataset, differing, collector, clip=drop_invalid)
        if not drop_invalid:
            stop_at(collector.problems, dataset.source)
        images = [image for image in images if image["id"] not in dropped]
        if not images:
            raise InputError(f"{dataset.source}: none of its images can be used; {collector.first_drop()}")
        annotations = [entry for entry in annotations if entry["image_id"] not in dropped]
        annotations = [entry | {"id": number} for number, entry in enumerate(annotations, start=1)]
        coco = index_coco(data | {"images": images, "annotations": annotations})
    return replace(dataset, coco=coco, problems=(*dataset.problems, *collector.problems))


def _change_sizes(
    dataset: Dataset, sizes: dict[int, ImageSize], collector: ProblemCollector, *, clip: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Correct the stated sizes of images, and check their annotations again.

    Args:
        dataset: the data set, which is not changed.
        sizes: image id -> size of the image file, of the images to correct.
        collector: receives the problems. They name the image file instead of the annotation.
        clip: whether to clip objects that reach over the edge of their image.

    Returns:
        The images and the annotations that can be used.
    """
    coco = dataset.coco
    changed = [dict(coco.imgs[id_]) for id_ in sizes]
    entries = [
        entry | {"_source": os.path.abspath(dataset.images / image["file_name"])}
        for image in changed
        for entry in coco.imgToAnns[image["id"]]
    ]
    annotations = read_annotations(
        entries, {id_: id_ for id_ in sizes}, {id_: id_ for id_ in coco.cats}, collector
    )
    changed, annotations = check_entries(
        changed, annotations, dataset.images, collector, clip=clip, actual=sizes
    )
    for entry in annotations.entries:
        del entry["_source"]
    new = {image["id"]: image for image in changed}
    images = [new.get(id_, image) for id_, image in coco.imgs.items() if id_ in new or id_ not in sizes]
    others = [entry for entry in coco.dataset["annotations"] if entry["image_id"] not in sizes]
    return images, sorted(others + annotations.entries, key=lambda entry: entry["id"])
