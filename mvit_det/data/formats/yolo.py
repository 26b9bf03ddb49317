"""YOLO folders: a text file of labels for each image, and a file of class names."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mvit_det.data.formats.converter import Converter
from mvit_det.data.formats.interface import Contents
from mvit_det.data.formats.layout import child, common_folder, has_files, split_of, subfolders
from mvit_det.data.formats.yolo_config import find_config
from mvit_det.data.formats.yolo_files import (
    find_labels,
    find_shared_label_files,
    find_sources,
    find_unused_label_files,
    list_images,
)
from mvit_det.data.formats.yolo_keypoints import refuse_keypoints
from mvit_det.data.formats.yolo_labels import read_labels
from mvit_det.data.images import read_size
from mvit_det.data.problems import Problem
from mvit_det.errors import InputError

LOOKED_FOR = "data.yaml, or classes.txt with images/ and labels/"

OVER_EDGE = 0.01  # of the side of an image; boxes that reach over the edge by more are not from rounding


@dataclass(frozen=True)
class YoloSplit:
    """The images of a split, and the names of all classes.

    Attributes:
        config: ``data.yaml`` or ``classes.txt``.
        names: class number -> name.
        sources: folders of images, and text files that list images.
    """

    config: Path
    names: dict[int, str]
    sources: tuple[Path, ...]


def recognize(folder: Path) -> dict[str, YoloSplit] | None:
    """Find the names of the classes and the images of each split.

    Args:
        folder: the folder, or its ``data.yaml``.

    Raises:
        InputError: if ``data.yaml`` cannot be used.
    """
    config = find_config(folder)
    root = folder.parent if folder.is_file() else folder
    if config is None:
        return None
    images = config.images
    if not images:
        images = {split: (path,) for split, path in find_sources(root).items()}
        labels = (
            find_labels(list(list_images(sources, config.path)), config.path) for sources in images.values()
        )
        if not any(label.is_file() for each in labels for label in each):
            return None
    return {split: YoloSplit(config.path, config.names, sources) for split, sources in images.items()}


def explain(folder: Path) -> str | None:
    """Return what a folder lacks that has some files of this format."""
    for path in (folder / "data.yaml", folder / "data.yml"):
        if path.is_file():
            return f"{path.name} has no key names"
    in_splits = [path / "labels" for path in subfolders(folder) if split_of(path.name)]
    labels = [child(folder, "labels"), *subfolders(child(folder, "labels")), *in_splits]
    if any(has_files(each, ".txt") for each in labels):
        return "it has labels/ as in YOLO, but no data.yaml and no classes.txt to name the classes"
    return None


def read(folder: Path, splits: Mapping[str, YoloSplit], split: str) -> Contents:
    """Convert the labels of a split. The category ids are the numbers of the classes.

    An image without a label file has no objects.

    Raises:
        InputError: if the split has no images or no label file at all, or if its labels have keypoints or
            corners of boxes.
    """
    sources = splits[split].sources
    root = folder.parent if folder.is_file() else folder
    paths = sorted(set(list_images(sources, splits[split].config)))
    if not paths:
        raise InputError(f"{sources[0]}: contains no images; the {split} split of {root} is empty")
    labels = find_labels(paths, splits[split].config)
    if not any(path.is_file() for path in labels):
        raise InputError(
            f"{root}: no image of the {split} split has a label file; expected {labels[0]} and so on"
        )
    refuse_keypoints(labels)
    with ThreadPoolExecutor() as pool:
        sizes = list(pool.map(_size, paths))
    converter = Converter(common_folder(paths), splits[split].names)
    problems = [*find_unused_label_files(paths), *find_shared_label_files(paths, labels)]
    for path, label, size in zip(paths, labels, sizes, strict=True):
        objects: list[dict[str, Any]] | None = []
        if not label.exists():
            if path.exists():  # else the check of the images reports it
                problems.append(Problem("missing_label_file", path, "", f"{label} does not exist"))
        elif size is not None:  # else the check of the images reports the image
            objects, new = read_labels(label, splits[split].names, size)
            problems += new
        if objects is not None:  # else the image cannot be used
            converter.add(path, size, objects, source=path)
    _refuse_corners(converter.data)
    return Contents(converter.data, root, converter.folder, problems)


def _refuse_corners(data: dict[str, Any]) -> None:
    """Raise an error if all boxes are valid as two corners, and many reach over the edge as they are."""
    labels = [entry for entry in data["annotations"] if "segmentation" not in entry]
    if not labels:
        return
    images = [data["images"][entry["image_id"] - 1] for entry in labels]
    sizes = np.array([(image["width"], image["height"]) for image in images], np.float64)
    boxes = np.array([entry["bbox"] for entry in labels])
    low, extent = boxes[:, :2] / sizes, boxes[:, 2:] / sizes
    outside = ((low < -OVER_EDGE) | (low + extent > 1 + OVER_EDGE)).any(1)
    if (extent > low + extent / 2).all() and outside.mean() > 1 / 3:
        numbers = ", ".join(f"{value:.4g}" for value in (*(low + extent / 2)[0], *extent[0]))
        raise InputError(
            f"{labels[0]['_source']}: {numbers} and all other boxes look like x1, y1, x2, y2: as such they "
            "fit their images; expected center x, center y, width, height, in fractions of the image's size"
        )


def _size(path: Path) -> tuple[int, int] | None:
    """Return width and height of the upright image, or None if it cannot be read."""
    try:
        size = read_size(path)
    except InputError:
        return None
    return size.width, size.height
