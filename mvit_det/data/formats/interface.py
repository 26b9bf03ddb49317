"""The interface of a data format, and what all formats share: splits, and lists of images."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mvit_det.data.images import SUFFIXES
from mvit_det.data.problems import Problem
from mvit_det.errors import InputError

SPLITS = {"train": "training", "val": "validation", "test": "test"}  # name -> adjective for messages
_SPLIT_OF_WORD = {
    "train": "train",
    "training": "train",
    "trainval": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Contents:
    """One split, converted to COCO's format.

    Attributes:
        data: the contents of a COCO-format file. An image or an annotation may have the key ``"_source"``,
            a string such as ``"labels/a.txt: line 3"`` that messages name.
        source: the file or folder that was read, for messages.
        images: the folder that each ``file_name`` is relative to.
        problems: the problems that the conversion found.
    """

    data: dict[str, Any]
    source: Path
    images: Path
    problems: Sequence[Problem] = field(default=())


class Format(Protocol):
    """The contents of a module that reads one format."""

    LOOKED_FOR: str  # what a folder of this format contains, for messages

    def recognize(self, folder: Path) -> dict[str, Any] | None:
        """Return the splits of the folder, or None if the folder has another format.

        Returns:
            ``"train"``, ``"val"`` or ``"test"`` -> what :meth:`read` needs.

        Raises:
            InputError: if the folder has this format, but contradicts itself.
        """
        ...

    def read(self, folder: Path, splits: Mapping[str, Any], split: str) -> Contents:
        """Convert one split to COCO's format.

        Raises:
            InputError: if the split as a whole cannot be used. Problems of single entries are returned.
        """
        ...


def split_of(name: str) -> str | None:
    """Return the split that a file or a folder belongs to by its name, such as "val" for "valid2017".

    The name of the split is a word of its own. If there are several, the last one counts.
    """
    words = re.findall("[a-z]+", name.lower())
    splits = [_SPLIT_OF_WORD[word] for word in words if word in _SPLIT_OF_WORD]
    return splits[-1] if splits else None


def choose_by_split(paths: Iterable[Path], what: str) -> dict[str, Path]:
    """Return split -> the path that has its name. A name that is the split's alone takes precedence.

    Raises:
        InputError: if several paths belong to one split. ``what`` describes them in the message.
    """
    by_split: dict[str, list[Path]] = {}
    for path in sorted(paths):
        if split := split_of(path.stem):
            by_split.setdefault(split, []).append(path)
    chosen = {}
    for split, candidates in by_split.items():
        exact = [path for path in candidates if path.stem.lower() == split]
        if len(exact or candidates) > 1:
            names = ", ".join(path.name for path in candidates)
            raise InputError(
                f"{candidates[0].parent}: holds several {what} of the {SPLITS[split]} set: {names}; "
                f"keep one, or name it {split}{candidates[0].suffix}"
            )
        chosen[split] = (exact or candidates)[0]
    return chosen


def subfolders(folder: Path) -> list[Path]:
    """Return the folders directly inside ``folder``, sorted, without hidden ones."""
    if not folder.is_dir():
        return []
    names = (path for path in folder.iterdir() if path.is_dir())
    return sorted(path for path in names if not path.name.startswith((".", "__MACOSX")))


def walk(folder: Path, depth: int = 2) -> Iterator[Path]:
    """Yield ``folder`` and its subfolders down to ``depth`` levels, sorted."""
    yield folder
    if depth:
        for path in subfolders(folder):
            yield from walk(path, depth - 1)


def common_folder(paths: Iterable[Path]) -> Path:
    """Return the folder that contains all files."""
    return Path(os.path.commonpath([path.parent for path in paths]))


def shown(path: Path, folder: Path) -> str:
    """Return a path relative to ``folder``, for messages."""
    return Path(os.path.relpath(path, folder)).as_posix()


def is_image(path: Path) -> bool:
    """Return whether a path has the suffix of an image, and is not a hidden file."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def has_files(folder: Path, *suffixes: str) -> bool:
    """Return whether files directly inside ``folder`` have each of the suffixes; "image" means any image."""
    missing = set(suffixes)
    if folder.is_dir():
        for path in folder.iterdir():
            missing -= {path.suffix.lower(), "image" if is_image(path) else ""}
            if not missing:
                return True
    return False
