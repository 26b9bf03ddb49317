"""Search for the images of a data set by their file names."""

import os
import posixpath
import re
import unicodedata
from pathlib import Path, PurePosixPath

from mvit_det.data.coco.fields import FieldError
from mvit_det.errors import InputError

_DRIVE = re.compile("[A-Za-z]:[\\\\/]")  # an absolute path on Windows


class ImageFolder:
    """The files in a folder and its subfolders. Each subfolder is listed once, when it is first needed.

    Args:
        path: the folder.

    Raises:
        InputError: if the folder does not exist.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise InputError(f"{path}: no such folder of images")
        self.path = path
        self._absolute = PurePosixPath(normalize(os.path.abspath(path)))
        self._names: dict[str, dict[str, str]] = {}

    def find(self, file_name: str) -> str:
        """Return the path of a file relative to the folder, with ``/`` between its parts.

        If there is no such file, it tries ``/`` for ``\\``, an absolute path inside the folder, the path
        without the names of the folder and its parents in front, what follows the name of the folder inside
        a relative path, and names of files and subfolders that differ only in the case of the suffix or in
        their Unicode normalization.

        Raises:
            FieldError: if no file is found, or if ``file_name`` leaves the folder.
        """
        folder, _, name = file_name.rpartition("/")
        if (not folder or self._is_plain(folder)) and self._listing(folder).get(name) == name:
            return file_name
        candidates = []
        normalized = normalize(file_name)
        for form in (normalized, normalized.replace("\\", "/")):
            path = os.path.normpath(self._absolute / form)
            if PurePosixPath(path).is_relative_to(self._absolute) and not _DRIVE.match(form):
                candidates += [os.path.relpath(path, self._absolute), *self._relative(form)]
        if not candidates:
            raise FieldError(
                "file_name",
                f"{file_name} is outside the folder {self.path}; expected a path inside it",
                "image_outside",
            )
        for candidate in candidates:
            found = self._match(candidate)
            if found is not None:
                return found
        raise FieldError("", "no such image", "missing_image")

    def _relative(self, file_name: str) -> list[str]:
        """Return what follows the name of the folder in a path, at each place where the path has that name.

        If the names before it are those of the folder's parents, it comes first.
        """
        parts = PurePosixPath(posixpath.normpath(file_name)).parts
        if parts[:1] in (("/",), ("..",)):
            return []
        ends = [number for number in range(1, len(parts)) if parts[number - 1] == self._absolute.name]
        ends.sort(key=lambda number: parts[:number] != self._absolute.parts[-number:])
        return ["/".join(parts[number:]) for number in ends]

    def _match(self, path: str) -> str | None:
        """Return the path of the file or subfolder with this path, in their loose forms if need be."""
        folder, _, name = path.rpartition("/")
        if folder and not self._listing(folder):
            folder = self._match(folder) or folder
        listing = self._listing(folder)
        found = listing.get(name) or listing.get(_loose(name))
        return found if found is None or not folder else f"{folder}/{found}"

    def _listing(self, folder: str) -> dict[str, str]:
        """Return name -> name for a subfolder, from the names as they are and from their loose forms."""
        if folder not in self._names:
            try:
                with os.scandir(self.path / folder) as entries:
                    names = [entry.name for entry in entries]
            except OSError:
                names = []
            self._names[folder] = {_loose(name): name for name in names} | {name: name for name in names}
        return self._names[folder]

    def _is_plain(self, folder: str) -> bool:
        return folder in self._names or (
            posixpath.normpath(folder) == folder and not folder.startswith(("/", "..")) and folder != "."
        )


def normalize(name: str) -> str:
    """Return a name in the Unicode normalization NFC, where "é" is one character. On macOS, it may be two."""
    return unicodedata.normalize("NFC", name)


def _loose(name: str) -> str:
    stem, suffix = os.path.splitext(normalize(name))
    return stem + suffix.lower()
