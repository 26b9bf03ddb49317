"""The image files of a YOLO folder, and the file of labels of each."""

import os
from collections.abc import Iterator
from pathlib import Path

from mvit_det.data.formats.layout import (
    child,
    choose_by_split,
    has_files,
    images_below,
    is_image,
    subfolders,
)
from mvit_det.data.formats.yolo_config import NAMES_FILES, resolve
from mvit_det.data.input_files import read_lines
from mvit_det.data.problems import Problem
from mvit_det.errors import InputError


def find_sources(root: Path) -> dict[str, Path]:
    """Return split -> the folder or the text file that lists its images, recognized by their names."""
    lists = [path for path in root.glob("*.txt") if _is_list_of_images(path)]
    if splits := choose_by_split(lists, "lists"):
        return splits
    for base in (child(root, "images"), root):
        if splits := choose_by_split(subfolders(base), "folders"):
            nested = {split: child(path, "images") for split, path in splits.items()}
            return {split: nested[split] if nested[split].is_dir() else splits[split] for split in splits}
    images = child(root, "images")
    return {"train": images if has_files(images, "image") else root}


def _is_list_of_images(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        first = file.readline(4096).decode("utf-8", "replace").strip()
    return is_image(Path(first))


def list_images(sources: tuple[Path, ...], config: Path) -> Iterator[Path]:
    """Yield the paths of the images of a split.

    Args:
        sources: folders of images, text files that list images, and images.
        config: ``data.yaml`` or ``classes.txt``.

    Raises:
        InputError: if a text file lists an image outside the common folder of this file and ``config``.
    """
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


def find_labels(images: list[Path], config: Path) -> list[Path]:
    """Return the path of the label file of each image, whether or not it exists.

    It is in ``labels/`` if the image is in ``images/``, and otherwise in the folder of the image. If no such
    file exists, the folder of ``classes.txt`` is searched too.
    """
    labels = [_label_file(_label_folder(image.parent), image) for image in images]
    if config.name in NAMES_FILES and not any(label.is_file() for label in labels):
        in_root = [_label_file(config.parent, image) for image in images]
        if len(set(in_root)) == len(in_root) and any(label.is_file() for label in in_root):
            return in_root
    return labels


def _label_file(folder: Path, image: Path) -> Path:
    label = folder / f"{image.stem}.txt"
    upper = label.with_suffix(".TXT")
    return upper if not label.exists() and upper.exists() else label


def _label_folder(images: Path) -> Path:
    """Return the folder in ``labels/`` for a folder in ``images/``; the same folder if there is none."""
    names = [name.lower() for name in images.parts]
    if "images" in names:
        last = len(names) - 1 - names[::-1].index("images")
        labels = child(Path(*images.parts[:last]), "labels").joinpath(*images.parts[last + 1 :])
        if labels.is_dir():
            return labels
    return images


def find_shared_label_files(images: list[Path], labels: list[Path]) -> Iterator[Problem]:
    """Yield a problem for each image whose label file is that of another, such as ``a.jpg`` and ``a.png``."""
    first: dict[Path, Path] = {}
    for image, label in zip(images, labels, strict=True):
        other = first.setdefault(label, image)
        if other != image and label.exists():
            yield Problem("shared_label_file", image, "", f"has the same label file as {other}, {label}")


def find_unused_label_files(images: list[Path]) -> Iterator[Problem]:
    """Yield a problem for each label file in the folders of ``images`` that has no image."""
    for folder in sorted({path.parent for path in images}):
        stems = {name.rpartition(".")[0] for name in os.listdir(folder) if is_image(Path(name))}
        for path in sorted(_label_folder(folder).iterdir()):
            if path.suffix.lower() != ".txt":
                continue
            if path.stem not in stems and path.name not in NAMES_FILES and not _is_list_of_images(path):
                yield Problem("unused_label_file", path, "", f"{folder} has no image of this name")
