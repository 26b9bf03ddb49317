"""YOLO folders: a text file of labels for each image, and a file of class names."""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mvit_det.data.formats.converter import Converter
from mvit_det.data.formats.interface import Contents
from mvit_det.data.formats.layout import (
    child,
    choose_by_split,
    common_folder,
    has_files,
    images_below,
    is_image,
    split_of,
    subfolders,
)
from mvit_det.data.formats.yolo_config import NAMES_FILES, find_config, resolve
from mvit_det.data.formats.yolo_keypoints import refuse_keypoints
from mvit_det.data.formats.yolo_labels import read_labels
from mvit_det.data.images import read_size
from mvit_det.data.input_files import read_lines
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
        images = {split: (path,) for split, path in _find_sources(root).items()}
        labels = (
            _find_labels(list(_images(sources, config.path)), config.path) for sources in images.values()
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
    paths = sorted(set(_images(sources, splits[split].config)))
    if not paths:
        raise InputError(f"{sources[0]}: contains no images; the {split} split of {root} is empty")
    labels = _find_labels(paths, splits[split].config)
    if not any(path.is_file() for path in labels):
        raise InputError(
            f"{root}: no image of the {split} split has a label file; expected {labels[0]} and so on"
        )
    refuse_keypoints(labels)
    with ThreadPoolExecutor() as pool:
        sizes = list(pool.map(_size, paths))
    converter = Converter(common_folder(paths), splits[split].names)
    problems = [*_unused_label_files(paths), *_shared_label_files(paths, labels)]
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


def label_file(image: Path) -> Path:
    """Return the path of the labels of an image: in ``labels/`` if it is in ``images/``, else beside it."""
    return _label_file(_label_folder(image.parent), image)


def _find_labels(images: list[Path], config: Path) -> list[Path]:
    """Return the path of the labels of each image. They may also be in the folder of ``classes.txt``."""
    labels = [label_file(image) for image in images]
    if config.name in NAMES_FILES and not any(label.is_file() for label in labels):
        beside = [_label_file(config.parent, image) for image in images]
        if len(set(beside)) == len(beside) and any(label.is_file() for label in beside):
            return beside
    return labels


def _label_file(folder: Path, image: Path) -> Path:
    label = folder / f"{image.stem}.txt"
    upper = label.with_suffix(".TXT")
    return upper if not label.exists() and upper.exists() else label


def _label_folder(images: Path) -> Path:
    names = [name.lower() for name in images.parts]
    if "images" in names:
        last = len(names) - 1 - names[::-1].index("images")
        labels = child(Path(*images.parts[:last]), "labels").joinpath(*images.parts[last + 1 :])
        if labels.is_dir():
            return labels
    return images


def _find_sources(root: Path) -> dict[str, Path]:
    """Return split -> the folder or the list of its images, by the usual names."""
    lists = [path for path in root.glob("*.txt") if _is_list_of_images(path)]
    if splits := choose_by_split(lists, "lists"):
        return splits
    for base in (child(root, "images"), root):
        if splits := choose_by_split(subfolders(base), "folders"):
            return {
                split: images if (images := child(path, "images")).is_dir() else path
                for split, path in splits.items()
            }
    images = child(root, "images")
    return {"train": images if has_files(images, "image") else root}


def _is_list_of_images(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        first = file.readline(4096).decode("utf-8", "replace").strip()
    return is_image(Path(first))


def _images(sources: tuple[Path, ...], config: Path) -> Iterator[Path]:
    """Yield the images of a split. Those in lists are in the folder of the list or of ``config``."""
    for source in sources:
        if source.is_dir():
            yield from images_below(Path(os.path.abspath(source)))
        elif source.suffix.lower() == ".txt":
            root = Path(os.path.commonpath([os.path.abspath(each.parent) for each in (source, config)]))
            for line in filter(None, map(str.strip, read_lines(source, "a list of images"))):
                line = line.replace("\0", "\N{REPLACEMENT CHARACTER}")  # no file name has it
                path = resolve(line, source.parent)
                if root not in Path(os.path.abspath(path)).parents:
                    raise InputError(
                        f"{source}: {line} is outside the folder {root}; expected images inside the folder "
                        "of the data set"
                    )
                if not path.exists():  # the list may have names without their folder
                    nested = resolve(line, child(source.parent, "images"))
                    path = nested if nested.exists() else path
                yield Path(os.path.abspath(path))
        else:
            yield Path(os.path.abspath(source))


def _shared_label_files(images: list[Path], labels: list[Path]) -> Iterator[Problem]:
    """Yield a problem for each image whose label file is that of another, such as ``a.jpg`` and ``a.png``."""
    first: dict[Path, Path] = {}
    for image, label in zip(images, labels, strict=True):
        other = first.setdefault(label, image)
        if other != image and label.exists():
            yield Problem("shared_label_file", image, "", f"has the same label file as {other}, {label}")


def _unused_label_files(images: list[Path]) -> Iterator[Problem]:
    """Yield a problem for each label file beside those of ``images`` that has no image."""
    for folder in sorted({path.parent for path in images}):
        stems = {name.rpartition(".")[0] for name in os.listdir(folder) if is_image(Path(name))}
        for path in sorted(_label_folder(folder).iterdir()):
            if path.suffix.lower() != ".txt":
                continue
            if path.stem not in stems and path.name not in NAMES_FILES and not _is_list_of_images(path):
                yield Problem("unused_label_file", path, "", f"{folder} has no image of this name")
