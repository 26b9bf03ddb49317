"""Writing of files that are either complete or absent, whatever ends the process or fills the disk."""

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mvit_det.errors import InputError, RunError, find_disk_error

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # errors of a full disk, quota or size limit
TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.part", re.DOTALL)  # names of temporary files
# Those of earlier versions, in the folder of a run.
EARLIER_TEMPORARY = (
    *(f"{name}.json.part" for name in ("run", "metrics", "detections", "images", "report")),
    "model_best.tmp",
)


@contextmanager
def replaced_file(
    path: Path, *, size: int | None = None, keep_as: Path | None = None, durable: bool = True
) -> Iterator[BinaryIO]:
    """Return a context that gives a binary file, whose content replaces that of ``path`` at the end.

    The file has a temporary name in the folder of ``path``, which is created if it does not exist. If the
    context ends with an exception, the temporary file is removed, and ``path`` remains as it was. If the
    process is killed, ``path`` also remains as it was; :func:`remove_temporary_files` removes the rest.

    Args:
        path: the file to write. Of a symbolic link, the target is replaced.
        size: number of bytes that will be written at most, if known. It must be free on the disk.
        keep_as: name in the same folder under which the earlier content of ``path`` is kept, if there is any.
        durable: whether the content must survive a power failure, which takes some milliseconds more.

    Raises:
        RunError: if the disk is full or cannot be written to; see :func:`mvit_det.errors.find_disk_error`.
        InputError: if ``path`` is not a possible name of a file.
    """
    path = Path(os.path.realpath(path))
    temporary = _temporary(path)
    try:
        _make_folder(path)
        if size is not None:
            check_space(path, size)
        try:
            file = open(temporary, "x+b")  # noqa: SIM115 (closed below, where errors are handled)
            try:
                yield file
                file.flush()
                if durable:
                    os.fsync(file.fileno())
                file.close()
            finally:
                with contextlib.suppress(OSError):  # of a buffer that the disk has no space for
                    file.close()
            if keep_as is not None:
                _keep(path, keep_as)
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    except RunError:
        raise
    except Exception as error:
        disk_error = find_disk_error(error)
        if disk_error is None:
            raise
        raise RunError(_describe(disk_error, path, size)) from None
    if durable:
        _sync_folder(path.parent)


def write_file(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write a file as a whole; see :func:`replaced_file` for the arguments and errors."""
    with replaced_file(path, size=len(content), durable=durable) as file:
        file.write(content)


def remove_temporary_files(folder: Path) -> None:
    """Remove the temporary files of processes that were killed. No other process may write to ``folder``."""
    if not folder.is_dir():
        return
    for path in list(folder.iterdir()):
        if TEMPORARY.fullmatch(path.name) or path.name in EARLIER_TEMPORARY:
            path.unlink(missing_ok=True)


def free_bytes(folder: Path) -> int | None:
    """Return the number of bytes that can be written to a folder, or None if the system does not say."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.free if usage.total > 0 else None  # some network file systems report zeros


def check_space(path: Path, size: int) -> None:
    """Check that ``size`` bytes are free for a new file, which may replace ``path`` when it is complete.

    Raises:
        RunError: if they are not.
    """
    folder = next(folder for folder in path.absolute().parents if folder.is_dir())
    free = free_bytes(folder)
    if free is not None and free < size:
        raise RunError(_describe(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), path, size))


def readable_size(num_bytes: int) -> str:
    """Return a number of bytes with a unit, such as ``"35.2 MB"``; a MB has 1,000,000 bytes."""
    size, unit = float(num_bytes), "bytes"
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 999.5 or unit == "TB":
            break
        size /= 1000
    return f"{size:,.0f} {unit}" if unit == "bytes" or size >= 999.5 else f"{size:.3g} {unit}"


def describe_space(folder: Path, size: int | None = None) -> str:
    """Return the number of bytes that are needed, if known, and that are free in a folder."""
    free = free_bytes(folder)
    needed = "" if size is None else f"{readable_size(size)} needed, "
    return f"{needed}{'unknown space' if free is None else readable_size(free)} free in {folder}"


def describe_disk_error(error: OSError, folder: Path | None, size: int | None = None) -> str:
    """Return the system's message of an error, with the free space in ``folder`` if that can be the cause."""
    message = error.strerror or str(error)
    if folder is None or error.errno not in NO_SPACE:
        return message
    return f"{message}: {describe_space(folder, size)}"


def _describe(error: OSError, path: Path, size: int | None) -> str:
    folder = next(folder for folder in path.parents if folder.is_dir())
    text = f"{path}: cannot be written: {describe_disk_error(error, folder, size)}"
    if error.errno == errno.EFBIG:
        text += "; a limit on the size of files is set (ulimit -f)"
    return f"{text}; the existing file is unchanged" if path.exists() else text


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}.part")


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        path.lstat()
    except FileNotFoundError:
        pass
    except FileExistsError:
        raise InputError(f"{path}: cannot be written: {path.parent} is a file") from None
    except OSError as error:
        if find_disk_error(error) is not None:
            raise
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None


def _keep(path: Path, name: Path) -> None:
    """Give a file, if it exists, a second name. A file of that name is replaced."""
    if not path.exists():
        return
    temporary = _temporary(name)
    try:
        os.link(path, temporary)
    except OSError:  # a file system without hard links
        os.replace(path, name)
        return
    try:
        os.replace(temporary, name)
    finally:
        temporary.unlink(missing_ok=True)  # exists if both were names of the same file already


def _sync_folder(folder: Path) -> None:
    """Write the names in a folder to the disk. Some network file systems do not offer this."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
