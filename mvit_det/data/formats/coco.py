"""Folders with COCO-format JSON files, under the names that COCO, Roboflow, CVAT or a user gives them."""

import contextlib
import itertools
import json
import mmap
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mvit_det.data.formats.interface import Contents
from mvit_det.data.formats.layout import SPLITS, annotation_folders, relative_path, split_of, walk
from mvit_det.data.json_files import read_json
from mvit_det.errors import InputError

LOOKED_FOR = "JSON files with images, annotations and categories"
OTHER_TASKS = ("person_keypoints", "captions", "image_info", "stuff", "panoptic")  # COCO's other files
NUM_SAMPLES = 20  # file names by which the folder of images is found

_FILE_NAME = re.compile(rb'"file_name"\s*:\s*("(?:[^"\\]|\\.)*")')
_UTF16 = (b"\xff\xfe", b"\xfe\xff")  # byte-order marks


@dataclass(frozen=True)
class CocoSplit:
    """An annotation file, and the folders where its images may be."""

    json: Path
    folders: tuple[Path, ...]


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
    return {
        split: CocoSplit(_choose(by_split[split], split), folders) for split in SPLITS if split in by_split
    }


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
    return Contents(data, path, images)


def _annotation_files(folders: Iterable[Path]) -> list[Path]:
    found = [path for path in _json_files(folders) if _has_keys(path, "images", "annotations")]
    # Files that lack the categories, such as captions, are left out if others have them.
    return [path for path in found if _has_keys(path, "categories")] or found


def _json_files(folders: Iterable[Path]) -> list[Path]:
    entries = (entry for folder in folders for entry in os.scandir(folder))
    return sorted(Path(each) for each in entries if each.name.lower().endswith(".json") and each.is_file())


def _has_keys(path: Path, *keys: str) -> bool:
    """Return whether a JSON file contains the strings ``keys``, without parsing it."""
    with _mapped(path) as content:
        return all(content.find(f'"{key}"'.encode()) >= 0 for key in keys)


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap | bytearray]:
    """Map a file into memory. A file in UTF-16 is read and converted to UTF-8."""
    with path.open("rb") as file:
        start = file.read(2)
        if start in _UTF16 or not start:  # an empty file cannot be mapped
            yield bytearray((start + file.read()).decode("utf-16", "replace").encode())
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            yield content


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


def find_image_folder(path: Path, split: str, root: Path, folders: Sequence[Path]) -> Path:
    """Return the folder, among ``folders``, that holds most of the first images of an annotation file.

    If several do, the folder of the file takes precedence, then a folder whose name is that of the split,
    then one whose name is that of no split.

    Raises:
        InputError: if no folder holds any of them.
    """
    names = _first_file_names(path)
    if not names:  # an empty or damaged file, which the check of its entries reports
        return path.parent

    def order(candidate: Path) -> tuple[bool, int]:
        candidate_split = split_of(candidate.relative_to(root).as_posix())
        return candidate != path.parent, {split: 0, None: 1}.get(candidate_split, 2)

    candidates = sorted(folders, key=order)
    bare_names = [name.rpartition("/")[2] for name in names]
    for forms in (names, bare_names, *_other_normalizations(names), *_other_normalizations(bare_names)):
        hits = [sum((candidate / name).is_file() for name in forms) for candidate in candidates]
        if max(hits):
            return candidates[hits.index(max(hits))]
    raise InputError(
        f"{path}: its images, such as {names[0]!r}, are neither in {root} nor in its subfolders; "
        "put them there, or give the file and the folder of its images"
    )


def _other_normalizations(names: Iterable[str]) -> Iterator[list[str]]:
    """Yield the names in the Unicode normalizations that a file system or a tool may have written."""
    for form in ("NFC", "NFD"):
        yield [unicodedata.normalize(form, name) for name in names]


def _first_file_names(path: Path) -> list[str]:
    with _mapped(path) as content:
        matches = [match[1] for match in itertools.islice(_FILE_NAME.finditer(content), NUM_SAMPLES)]
    names = []
    for match in matches:
        with contextlib.suppress(ValueError):
            names.append(json.loads(match).replace("\\", "/").removeprefix("./"))
    return names
