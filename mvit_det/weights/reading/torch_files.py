"""Reads files of ``torch.save``, after a check.

``torch.load(weights_only=True)`` runs no code, but a crafted file can make it crash or exhaust the memory.
"""

import io
import mmap
import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from mvit_det.errors import InputError
from mvit_det.weights.reading.pickles import LimitedFile
from mvit_det.weights.reading.torch_pickles import check_pickle

ZIP_MAGIC = b"PK\x03\x04"
LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # the first pickle of a file of torch before 1.6
NUM_LEGACY_PICKLES = 5  # magic number, protocol, system information, content, keys of the storages


def load_torch_zip(path: Path) -> Any:
    """Return the content of a file of ``torch.save``, with its tensors mapped into memory.

    Raises:
        InputError: if the file is damaged, was not written by torch, or is not safe to read.
    """
    _check_zip(path)
    return _torch_load(path, mmap=True)


def load_torch_legacy(path: Path) -> Any:
    """Return the content of a file of ``torch.save`` in the format of torch before 1.6.

    Raises:
        InputError: if the file is damaged, or is not safe to read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        # torch allocates the storages before it reads them.
        limited = LimitedFile(file, size)  # its limits hold for all pickles together
        num_bytes = sum(check_pickle(path, limited) for _ in range(NUM_LEGACY_PICKLES))
    if num_bytes > size:
        raise InputError(f"{path}: is damaged or incomplete: its tensors would be larger than the file")
    return _torch_load(path, mmap=False)


def _torch_load(path: Path, *, mmap: bool) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # torch documents no set of exceptions for damaged files
        match = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = (
            f"its pickle names {match[1]!r}, which weights do not need" if match else type(error).__name__
        )
        raise InputError(f"{path}: is refused by torch.load(weights_only=True): {reason}") from None


def _check_zip(path: Path) -> None:
    """Refuse an archive that is damaged, would unpack to more bytes than it has, or is not torch's.

    An archive can be crafted such that two readers see different entries. To prevent this, the directory of
    the archive must be where torch writes it.
    """
    size = path.stat().st_size
    try:
        if _directory_end(path, size) not in (size - 22, size - 98):
            raise InputError(f"{path}: is refused: its archive directory is not where torch writes it")
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            for entry in entries:
                if entry.compress_type != zipfile.ZIP_STORED:
                    raise InputError(
                        f"{path}: is refused: {entry.filename!r:.80} is compressed, and would take "
                        f"{entry.file_size:,} bytes of memory; torch does not compress files"
                    )
            if sum(entry.file_size for entry in entries) > size:
                raise InputError(f"{path}: is refused: it would be larger in memory than on disk")
            # torch ignores case in these names.
            pickles = [entry for entry in entries if entry.filename.lower().endswith("data.pkl")]
            if len(pickles) != 1 or not pickles[0].filename.endswith("/data.pkl"):
                raise InputError(f"{path}: is a zip file, but not one that torch wrote")
            content = archive.read(pickles[0])
            check_pickle(path, LimitedFile(io.BytesIO(content), len(content)))
            _check_sums(path, entries)
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, UnicodeError, struct.error) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: is damaged or incomplete: {reason:.200}") from None


def _check_sums(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    """Compare the CRC-32 of each entry with its data. torch writes it, and does not test it.

    Raises:
        InputError: if one differs.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for entry in entries:
            header = data[entry.header_offset : entry.header_offset + 30]
            start = entry.header_offset + 30 + sum(struct.unpack("<HH", header[26:30]))
            with memoryview(data) as view, view[start : start + entry.file_size] as content:
                if zlib.crc32(content) != entry.CRC:
                    raise InputError(f"{path}: is damaged: the checksum of {entry.filename!r:.80} is wrong")


def _directory_end(path: Path, size: int) -> int:
    """Return the position at which the directory of a zip file ends, or -1 if it is inconsistent.

    After the directory, torch writes a 64-bit record of 56 bytes, its locator of 20 bytes, and the 32-bit
    record of 22 bytes. The records hold the directory's size and position.
    """
    with path.open("rb") as file:
        file.seek(max(0, size - 98))
        tail = file.read().rjust(98, b"\0")
    record_64, locator, record = tail[:56], tail[56:76], tail[76:]
    if record[:4] != b"PK\5\6":
        raise InputError(f"{path}: is damaged or incomplete: a zip file whose end is missing")
    if locator[:4] == b"PK\6\7":
        if record_64[:4] != b"PK\6\6" or struct.unpack("<Q", locator[8:16])[0] != size - 98:
            return -1
        return sum(struct.unpack("<QQ", record_64[40:56]))
    return sum(struct.unpack("<II", record[12:20]))
