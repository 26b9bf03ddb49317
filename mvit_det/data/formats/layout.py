"""Which files and folders of a data set belong to which split."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from mvit_det.data.images import SUFFIXES
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


def split_of(name: str) -> str | None:
    """Return the split that a file or a folder belongs to by its name, such as "val" for "valid2017".

    The name of the split is a word of its own, or in camel case. If there are several, the last one counts.
    """
    for words in (re.findall("[a-z]+", name.lower()), re.findall("[A-Z]?[a-z]+", name)):
        splits = [_SPLIT_OF_WORD[word.lower()] for word in words if word.lower() in _SPLIT_OF_WORD]
        if splits:
            return splits[-1]
    return None


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


def child(folder: Path, name: str) -> Path:
    """Return the folder inside ``folder`` that is named ``name`` (in lower case), without regard to case."""
    if (folder / name).is_dir():
        return folder / name
    return next((each for each in subfolders(folder) if each.name.lower() == name), folder / name)


def images_below(folder: Path, parents: tuple[str, ...] = ()) -> Iterator[Path]:
    """Yield the images in ``folder`` and its subfolders.

    Symbolic links are followed, except for those to one of the folders ``parents`` that contain them.
    """
    path = os.path.realpath(folder)
    if path in parents:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from images_below(folder / entry.name, (*parents, path))
            elif is_image(Path(entry.name)):
                yield folder / entry.name


def walk(folder: Path, depth: int = 2) -> Iterator[Path]:
    """Yield ``folder`` and its subfolders down to ``depth`` levels, sorted."""
    yield folder
    if depth:
        for path in subfolders(folder):
            yield from walk(path, depth - 1)


def annotation_folders(root: Path) -> Iterator[Path]:
    """Yield the folders in which the annotations of a data set may be: ``root`` and some of its subfolders.

    A subfolder that holds images is a data set of its own, unless its name is that of a split.
    """
    yield root
    for folder in subfolders(root):
        folders = list(walk(folder, 1))
        named = split_of(folder.name) is not None or folder.name.lower() == "annotations"
        if named or not any(has_files(each, "image") for each in folders):
            yield from folders


def common_folder(paths: Iterable[Path]) -> Path:
    """Return the folder that contains all files."""
    return Path(os.path.commonpath([path.parent for path in paths]))


def relative_path(path: Path, folder: Path) -> str:
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
