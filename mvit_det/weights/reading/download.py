"""Downloads weight files into a cache. A download that broke off is resumed.

``huggingface_hub`` transfers a file: see :mod:`mvit_det.weights.reading.transfer`. What it leaves to its
caller is here. The incomplete file outlives the process, and the next one continues it. One process downloads
a file while others wait. A file gets its final name only after its digest and its content were checked.
"""

import hashlib
from pathlib import Path

import torch

from mvit_det.errors import DISK_ERRORS, InputError, RunError, counted
from mvit_det.files import check_space, describe_disk_error
from mvit_det.weights.reading.files import read_file
from mvit_det.weights.reading.transfer import MAX_BYTES, BrokenOffError, query, receive

MAX_NAME = 100  # characters of the name of a download


def download(url: str, sha256: str = "") -> Path:
    """Download a weight file, unless it is in the cache.

    A download that breaks off remains in the cache as a hidden file whose name ends with ``.incomplete``. The
    next call continues it if the server still has the same version of the file.

    Args:
        url: an ``http`` or ``https`` address.
        sha256: digest of the file in hexadecimal digits, if it is known.

    Returns:
        the path of the complete file in the cache.

    Raises:
        InputError: if the download fails or is too slow, if the file is too large or has another digest, or
            if it is no weight file that can be read.
        RunError: if the disk is full or cannot be written to.
    """
    name = url.partition("?")[0].rpartition("/")[2][-MAX_NAME:]
    name = "weights" if name in ("", ".", "..") else name
    # Files of different URLs can have the same name, so each URL has its own folder.
    path = Path(torch.hub.get_dir(), "mvit_det", _short_digest(url, 16), name)
    if not path.is_file():
        try:
            _fetch_once(url, path, sha256)
        except OSError as error:
            if error.errno not in DISK_ERRORS:
                raise
            folder = next(folder for folder in path.parents if folder.is_dir())
            reason = describe_disk_error(error, folder)
            raise RunError(f"{path}: cannot be written: {reason}") from None
    elif sha256 and _sha256(path) != sha256:
        raise InputError(f"{path}: has the digest {_sha256(path)}, not {sha256}; delete it and try again")
    return path


def _fetch_once(url: str, path: Path, sha256: str) -> None:
    """Download a file while no other process does. If one did in the meantime, there is nothing to do."""
    # The import takes half a second, and most commands download nothing.
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    path.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(path.with_name(".lock")):
        if not path.is_file():
            _fetch(url, path, sha256)


def _fetch(url: str, path: Path, sha256: str) -> None:
    """Continue the incomplete file of the server's version or start a new one, check it, and rename it."""
    size, validator = query(url)
    version = _short_digest(f"{validator} {size}", 8) if validator and size is not None else ""
    incomplete = path.with_name(f".{version or 'unknown'}.incomplete")
    for other in path.parent.glob(".*.incomplete"):
        if other != incomplete or not version:
            other.unlink()
    if size is not None:
        if size > MAX_BYTES:
            raise InputError(f"{url}: has {counted(size, 'byte')}; expected at most {MAX_BYTES:,}")
        check_space(path, size - (incomplete.stat().st_size if incomplete.exists() else 0))
    try:
        receive(url, incomplete, size, path.name)
        _check(url, incomplete, size, sha256)
    except BrokenOffError:
        if not version:
            incomplete.unlink(missing_ok=True)
        raise
    except (InputError, OSError):
        incomplete.unlink(missing_ok=True)
        raise
    incomplete.replace(path)


def _check(url: str, path: Path, size: int | None, sha256: str) -> None:
    """Check the size, the digest and the content of a complete download."""
    num_bytes = path.stat().st_size
    if size not in (None, num_bytes):  # on a file system without locks, two processes may have written
        raise InputError(f"{url}: the download has {num_bytes:,} of {size:,} bytes; try again")
    if sha256 and _sha256(path) != sha256:
        raise InputError(f"{url}: the download has the digest {_sha256(path)}, not {sha256}")
    try:
        read_file(path)
    except InputError as error:
        raise InputError(str(error).replace(str(path), url)) from None


def _short_digest(text: str, num_digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:num_digits]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
