"""Finding the images of a data set by their file names."""

import os
import posixpath
import unicodedata
from pathlib import Path, PurePosixPath

from mvit_det.data.coco.fields import FieldError
from mvit_det.errors import InputError


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
        self._absolute = PurePosixPath(os.path.abspath(path))
        self._names: dict[str, dict[str, str]] = {}

    def find(self, file_name: str) -> str:
        """Return the path of a file relative to the folder, with ``/`` between its parts.

        If there is no such file, it tries ``/`` for ``\\``, an absolute path inside the folder, the path
        without the names of the folder and its parents in front, and names that differ only in the case of
        the suffix or in their Unicode normalization.

        Raises:
            FieldError: if no file is found, or if ``file_name`` leaves the folder.
        """
        folder, _, name = file_name.rpartition("/")
        if (not folder or self._is_plain(folder)) and name in self._listing(folder):
            return file_name
        path = os.path.normpath(self._absolute / file_name)
        if PurePosixPath(path).is_relative_to(self._absolute):
            candidates = [os.path.relpath(path, self._absolute), self._relative(file_name)]
        else:
            candidates = []
        path = os.path.normpath(self._absolute / file_name.replace("\\", "/"))
        if PurePosixPath(path).is_relative_to(self._absolute):
            candidates += [os.path.relpath(path, self._absolute), self._relative(file_name)]
        elif not candidates:
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

    def _relative(self, file_name: str) -> str:
        """Return a path without the names of the folder and its parents in front."""
        parts = PurePosixPath(posixpath.normpath(file_name.replace("\\", "/"))).parts
        for number in range(len(parts) - 1, 0, -1):
            if parts[:number] == self._absolute.parts[-number:]:
                return "/".join(parts[number:])
        return "/".join(parts)

    def _match(self, path: str) -> str | None:
        folder, _, name = path.rpartition("/")
        listing = self._listing(folder)
        found = name if name in listing else listing.get(_loose(name))
        return found if found is None or not folder else f"{folder}/{found}"

    def _listing(self, folder: str) -> dict[str, str]:
        """Return the names of the files in a subfolder: both as they are and in their loose form."""
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


def _loose(name: str) -> str:
    stem, suffix = os.path.splitext(unicodedata.normalize("NFC", name))
    return stem + suffix.lower()
