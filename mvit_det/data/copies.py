"""Search for images that a data set holds more than once: in several splits, or as copies of one file."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from mvit_det.data.dataset import Dataset
from mvit_det.data.image_cache import Track
from mvit_det.data.problems import Problem

T = TypeVar("T")


def find_copies(splits: Mapping[str, Dataset], track: Track, *, compare_all: bool) -> list[Problem]:
    """Return a problem for each image that repeats an earlier one.

    Images that several splits list under the same path are found without reading them.

    Args:
        splits: name of each split -> its data set.
        track: function from an iterable and its length to the same items, which shows progress.
        compare_all: compare the bytes of all image files. Otherwise, only files that have the same name in
            several splits are compared.
    """
    splits_of: dict[str, list[str]] = defaultdict(list)
    for split, dataset in splits.items():
        for entry in dataset.coco.dataset["images"]:
            splits_of[os.path.normpath(os.path.join(dataset.images, entry["file_name"]))].append(split)
    problems = [
        Problem("shared_image", Path(path), "", f"is in {first} and in {other}")
        for path, (first, *others) in splits_of.items()
        for other in others
    ]
    paths = list(splits_of)
    if not compare_all:
        groups = _groups(paths, os.path.basename)
        paths = [
            path for group in groups if len({splits_of[path][0] for path in group}) > 1 for path in group
        ]
    for first, *copies in _identical_files(paths, track):
        for path in copies:
            (split, *_), (first_split, *_) = splits_of[path], splits_of[first]
            if split == first_split:
                problems.append(Problem("copied_image", Path(path), "", f"has the same contents as {first}"))
            else:
                message = f"is in {split} and has the same contents as {first} in {first_split}"
                problems.append(Problem("shared_image", Path(path), "", message))
    return problems


def _identical_files(paths: Iterable[str], track: Track) -> list[list[str]]:
    """Return groups of files with the same contents. Only files of the same size are read."""
    candidates = [path for group in _groups(paths, _size) for path in group]
    with ThreadPoolExecutor() as pool:
        digests = dict(zip(candidates, track(pool.map(_digest, candidates), len(candidates)), strict=True))
    return _groups(candidates, digests.__getitem__)


def _groups(items: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """Return the groups of at least two items with the same key. Leaves out items with the key None."""
    groups: dict[Hashable, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return [group for value, group in groups.items() if value is not None and len(group) > 1]


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:  # a missing image is a problem of its own
        return None


def _digest(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "blake2b").digest()
    except OSError:
        return None
