"""Folders of images and annotations in one of the supported formats."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mvit_det.data.dataset import Dataset, dataset_from
from mvit_det.data.formats import FORMATS
from mvit_det.data.formats.layout import SPLITS, subfolders
from mvit_det.errors import InputError

YAML_SUFFIXES = (".yaml", ".yml")
ARCHIVE_SUFFIXES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")


@dataclass(frozen=True)
class DataFolder:
    """A folder whose format is known.

    Attributes:
        path: the folder, or its ``data.yaml``.
        format: key of :data:`mvit_det.data.formats.FORMATS`.
        splits: ``"train"``, ``"val"`` or ``"test"`` -> what the format needs to read it.
    """

    path: Path
    format: str
    splits: Mapping[str, Any]


def open_folder(path: Path) -> DataFolder:
    """Recognize the format of a folder and find its splits. Reads no annotations.

    Args:
        path: the folder, or its ``data.yaml``. If it has no annotations but one of its subfolders has, the
            subfolder is opened.

    Raises:
        InputError: if the folder has none of the formats, or two of them.
    """
    if not path.exists():
        raise InputError(f"{path}: no such folder")
    if path.is_file() and path.suffix.lower() not in YAML_SUFFIXES:
        archive = path.suffix.lower() in ARCHIVE_SUFFIXES
        hint = "unpack it, and give the folder" if archive else "expected a folder or its data.yaml"
        if path.suffix.lower() == ".json":
            hint = "expected a folder; give a JSON file as json, with the folder of its images"
        raise InputError(f"{path}: is a file; {hint}")
    opened = _recognize(path)
    if not opened and path.is_file():
        raise InputError(
            f"{path}: names no classes and images; expected the keys names, train and val of YOLO"
        )
    if not opened:
        inner = [each for folder in subfolders(path) for each in _recognize(folder)]
        if len(inner) > 1:
            names = ", ".join(f"{each.path.name} ({each.format})" for each in inner)
            raise InputError(f"{path}: holds several data sets: {names}; give one of these folders")
        opened = inner
    if len(opened) > 1:
        names = " and ".join(f"{each.format} ({', '.join(each.splits)})" for each in opened)
        raise InputError(
            f"{path}: is a folder of several formats: {names}; give the JSON file, data.yaml, or a folder "
            "with one of them"
        )
    if not opened:
        reasons = [reason for module in FORMATS.values() if (reason := module.explain(path))]
        found = "; ".join(reasons) or f"it holds {_contents(path)}"
        raise InputError(f"{path}: is no data set; looked for {_looked_for()}; {found}")
    return opened[0]


def read_split(folder: DataFolder, split: str, *, drop_invalid: bool = False) -> Dataset:
    """Read and check one split of a folder.

    Args:
        folder: the folder.
        split: ``"train"``, ``"val"`` or ``"test"``.
        drop_invalid: see :func:`mvit_det.data.dataset.read_dataset`.

    Raises:
        InputError: if there is no such split, or if it cannot be used.
    """
    if split not in folder.splits:
        have = ", ".join(folder.splits)
        raise InputError(f"{folder.path}: has no {SPLITS[split]} set; as {folder.format}, it has {have}")
    with _readable(folder.path):
        contents = FORMATS[folder.format].read(folder.path, folder.splits, split)
    dataset = dataset_from(
        contents.data,
        contents.source,
        contents.images,
        drop_invalid=drop_invalid,
        problems=contents.problems,
        split=split,
    )
    return replace(dataset, format=folder.format)


def _recognize(path: Path) -> list[DataFolder]:
    names = FORMATS if path.is_dir() else ("YOLO",)
    with _readable(path):
        splits = {name: FORMATS[name].recognize(path) for name in names}
    return [DataFolder(path, name, found) for name, found in splits.items() if found]


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn an error of the file system, such as a missing permission, into an :class:`InputError`."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{error.filename or path}: cannot be read: {error.strerror or error}") from None


def _looked_for() -> str:
    return "; ".join(f"{name}: {module.LOOKED_FOR}" for name, module in FORMATS.items())


def _contents(folder: Path) -> str:
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return (", ".join(names[:5]) or "nothing") + more
