"""Folders with COCO-format JSON files, under the names that COCO, Roboflow, CVAT or a user gives them."""

import os
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path

from mvit_det.data.formats.coco_images import find_image_folder
from mvit_det.data.formats.interface import Contents
from mvit_det.data.formats.layout import SPLITS, annotation_folders, relative_path, split_of, walk
from mvit_det.data.json_files import mapped_json, read_json
from mvit_det.data.problems import Problem
from mvit_det.errors import InputError

LOOKED_FOR = "JSON files with images, annotations and categories"
OTHER_TASKS = ("person_keypoints", "captions", "image_info", "stuff", "panoptic")  # COCO's other files


@dataclass(frozen=True)
class CocoSplit:
    """An annotation file, and the folders where its images may be.

    Attributes:
        json: the annotation file.
        folders: where its images may be.
        unused: annotation files that belong to no split; only the first split of a folder has them.
    """

    json: Path
    folders: tuple[Path, ...]
    unused: tuple[Path, ...] = ()


def recognize(folder: Path) -> dict[str, CocoSplit] | None:
    """Find the annotation file of each split.

    A file belongs to the split that its name names, or else the name of its folder. If none is
    the training set, a file without a split is. Of a file, only its keys are looked at.

    Raises:
        InputError: if two files belong to the same split.
    """
    if not folder.is_dir():
        return None
    by_split: dict[str | None, list[Path]] = {}
    for path in _annotation_files(annotation_folders(folder)):
        by_split.setdefault(_split(path, folder), []).append(path)
    if not by_split:
        return None
    if None in by_split:
        by_split.setdefault("train", by_split.pop(None))
    folders = tuple(walk(folder))
    splits = {
        split: CocoSplit(_choose(by_split[split], split), folders) for split in SPLITS if split in by_split
    }
    first = next(iter(splits))
    used = {split.json for split in splits.values()}
    splits[first] = replace(splits[first], unused=tuple(_unused_files(folder, used)))
    return splits


def explain(folder: Path) -> str | None:
    """Return what a folder lacks that has some files of this format."""
    paths = _json_files(annotation_folders(folder))
    if not paths:
        return None
    return f"{relative_path(paths[0], folder)} does not have the lists images and annotations of COCO"


def read(folder: Path, splits: Mapping[str, CocoSplit], split: str) -> Contents:
    """Read the annotation file of a split, and find the folder of its images.

    Raises:
        InputError: if the file is not JSON, or if its images are not found.
    """
    path = splits[split].json
    images = find_image_folder(path, split, folder, splits[split].folders)
    data = read_json(path, dict, "an object with images, annotations and categories")
    problems = [_unused_file(each) for each in splits[split].unused]
    return Contents(data, path, images, problems)


def _unused_files(folder: Path, used: Set[Path]) -> Iterator[Path]:
    """Yield the annotation files that are not used, except for those of COCO's other tasks."""
    for each in annotation_folders(folder):
        yield from sorted(path for path in each.iterdir() if path.name.lower().endswith(".json.gz"))
    for path in _annotation_files(annotation_folders(folder)):
        if path not in used and not path.stem.lower().startswith(OTHER_TASKS):
            yield path


def _unused_file(path: Path) -> Problem:
    message = "is compressed and is not read; unpack it"
    if path.suffix.lower() == ".json":
        message = "is not used: its name is not that of a split, or another file is its split"
    return Problem("unused_annotation_file", path, "", message)


def _annotation_files(folders: Iterable[Path]) -> list[Path]:
    paths = _json_files(folders)
    found = [path for path in paths if _has_keys(path, "images", "annotations")]
    # Files that lack the categories, such as captions, are left out if others have them.
    found = [path for path in found if _has_keys(path, "categories")] or found
    # Reading an empty file of a split reports it.
    return found + [path for path in paths if path.stat().st_size == 0 and split_of(path.stem)]


def _json_files(folders: Iterable[Path]) -> list[Path]:
    entries = (entry for folder in folders for entry in os.scandir(folder))
    return sorted(Path(each) for each in entries if each.name.lower().endswith(".json") and each.is_file())


def _has_keys(path: Path, *keys: str) -> bool:
    """Return whether a JSON file contains the strings ``keys``, without parsing it."""
    with mapped_json(path) as content:
        return all(content.find(f'"{key}"'.encode()) >= 0 for key in keys)


def _split(path: Path, root: Path) -> str | None:
    """Return the split that a file or one of its folders below ``root`` names."""
    names = [path.stem, *(parent.name for parent in path.relative_to(root).parents)]
    return next(filter(None, map(split_of, names)), None)


def _choose(paths: list[Path], split: str) -> Path:
    def rank(path: Path) -> int:
        name = path.stem.lower()
        if name.startswith(OTHER_TASKS):
            return 2
        exact = name == split or name == "_annotations.coco" or name.startswith("instances_")
        return 0 if exact else 1

    best = min(map(rank, paths))
    candidates = [path for path in paths if rank(path) == best]
    if len(candidates) > 1:
        names = " and ".join(map(str, candidates[:2]))
        raise InputError(f"{names} both are the {SPLITS[split]} set; keep one, or name it {split}.json")
    return candidates[0]
