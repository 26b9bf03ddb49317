"""The interface of a data format."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mvit_det.data.problems import Problem


@dataclass(frozen=True)
class Contents:
    """One split, converted to COCO's format.

    Attributes:
        data: the contents of a COCO-format file. An image or an annotation may have the key ``"_source"``,
            a string such as ``"labels/a.txt: line 3"`` that messages name instead of the entry: the path of a
            file, and the place in it.
        source: the file or folder that was read, for messages.
        images: the folder that each ``file_name`` is relative to.
        problems: the problems that the conversion found.
    """

    data: dict[str, Any]
    source: Path
    images: Path
    problems: Sequence[Problem] = ()


class LabelError(Exception):
    """An object in a label file has a bad value, or a value is missing.

    Attributes:
        kind: key of :data:`mvit_det.data.problem_kinds.KINDS`.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


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

    def explain(self, folder: Path) -> str | None:
        """Return what a folder lacks that has some files of this format but is not recognized.

        Returns None if it has none of them.
        """
        ...

    def read(self, folder: Path, splits: Mapping[str, Any], split: str) -> Contents:
        """Convert one split to COCO's format.

        Raises:
            InputError: if the split as a whole cannot be used. Problems of single entries are returned.
        """
        ...
