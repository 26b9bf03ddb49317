"""The folder of an export, which appears as a whole or not at all."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mvit_det.errors import InputError
from mvit_det.report.run_folder import check_output
from mvit_det.runtime.description import FILE_NAME as DESCRIPTION

CHECK = "check.json"
FILES = (DESCRIPTION, CHECK, "model.onnx", "model.onnx.data", "model.xml", "model.bin", "model.pt2")


def check_folder(folder: Path, overwrite: bool) -> None:
    """Check that an export may be written to a folder.

    Raises:
        InputError: if ``folder`` or a parent is a file, or cannot be written to; if it is not empty and
            ``overwrite`` is False; or if it contains anything but an export.
    """
    check_output(folder, FILES, overwrite, inputs=())
    if not folder.exists():
        return
    others = sorted(path.name for path in folder.iterdir() if path.name not in FILES)
    if others:
        raise InputError(
            f"{folder}: contains {others[0]}, which is not part of an export; choose another folder"
        )
    if os.path.ismount(folder):
        raise InputError(f"{folder}: is a mount point, which cannot be replaced; choose a folder in it")
    if not os.access(folder.resolve().parent, os.W_OK):
        raise InputError(f"{folder.resolve().parent}: cannot be written to; choose another folder")


@contextmanager
def replaced_folder(folder: Path, overwrite: bool) -> Iterator[Path]:
    """Return a context with a new empty folder, which takes the place of ``folder`` at the end.

    The new folder is made beside ``folder``, or beside the first parent that does not exist. If the context
    ends with an exception, it is removed, and ``folder`` remains as it was.

    Args:
        folder: the folder to write. If it is a symbolic link, its target is replaced.
        overwrite: whether it may contain an earlier export.

    Raises:
        InputError: see :func:`check_folder`.
    """
    check_folder(folder, overwrite)
    folder = folder.resolve()
    place = next(parent for parent in folder.parents if parent.exists())
    temporary = place / f".{folder.name[:40]}.{secrets.token_hex(4)}.part"
    temporary.mkdir()
    try:
        yield temporary
        check_folder(folder, overwrite)  # again: another command may have used the folder since
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists():
            earlier = temporary.with_suffix(".old")
            folder.rename(earlier)
            temporary.rename(folder)
            shutil.rmtree(earlier)
        else:
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
