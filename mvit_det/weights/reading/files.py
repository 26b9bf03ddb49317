"""Files of weights, told apart by what is in them, and read without running anything that they hold."""

import io
import json
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from mvit_det.errors import InputError
from mvit_det.weights.reading.pickles import check_pickle, load_pickle

ZIP, PICKLE = b"PK\x03\x04", b"\x80"
OLD_TORCH = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # the number that torch wrote first before 1.6
MAX_HEADER = 2**24  # bytes; the largest variant's takes 2**18
DTYPES = {
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2),
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
}
EXPECTED = "expected .safetensors, .pth, .pyth, .ckpt or .pkl with the weights of an MViT"


def read_file(path: Path) -> Any:
    """Return what a file of weights holds: mostly a dict, somewhere in it one of names to tensors.

    Tensors are those of safetensors, of torch's own files, or of a pickle of NumPy arrays. They are
    mapped into memory where the format allows it.

    Raises:
        InputError: if the file is missing, empty, damaged, no file of weights, or would run code.
    """
    try:
        if not path.exists():
            raise InputError(f"{path}: no such file")
        if not path.is_file():
            raise InputError(f"{path}: is no file; {EXPECTED}")
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if not head:
        raise InputError(f"{path}: is empty; {EXPECTED}")
    if head.startswith(ZIP):
        _check_zip(path)
        content = _load_torch(path, is_mapped=True)
    elif head[8:9] == b"{":  # after the length of the header, which can be any
        content = _load_safetensors(path)
    elif head.startswith(PICKLE):
        if OLD_TORCH in head:
            with path.open("rb") as file:
                for _ in range(5):  # three of the format's, the content, and the keys of its storages
                    check_pickle(path, file, path.stat().st_size)
            content = _load_torch(path, is_mapped=False)
        else:
            content = load_pickle(path)
    else:
        raise InputError(f"{path}: {_looks_like(head)}; {EXPECTED}")
    _check_sizes(path, content)
    return content


def read_config(path: Path) -> dict[str, Any]:
    """Return the configuration that :func:`mvit_det.weights.save_weights` wrote beside a file.

    Raises:
        InputError: if it cannot be read, or is no JSON object.
    """
    beside = path.with_suffix(".json")
    try:
        config = json.loads(beside.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{beside}: cannot be read as JSON: {_short(error)}") from None
    if not isinstance(config, dict):
        raise InputError(f"{beside}: holds a {type(config).__name__}; expected a JSON object")
    return config


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER:
        raise InputError(f"{path}: is a damaged safetensors file: a header of {length:,} bytes")
    try:
        return load_file(path)
    except Exception as error:  # a damaged header can fail in any way
        raise InputError(f"{path}: is a damaged safetensors file: {_short(error)}") from None


def _check_zip(path: Path) -> None:
    """Refuse what torch would unpack into more memory than the file has bytes, or what it should not name.

    A zip file can be made so that its readers do not agree on what is in it: of torch's they do.
    """
    size = path.stat().st_size
    try:
        if _end_of_directory(path, size) not in (size - 22, size - 98):
            raise InputError(f"{path}: is refused: its directory of files is not where torch writes it")
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            for entry in entries:
                if entry.compress_type != zipfile.ZIP_STORED:
                    raise InputError(
                        f"{path}: is refused: {entry.filename!r:.80} is compressed, to be "
                        f"{entry.file_size:,} bytes in memory; torch writes files that are not"
                    )
            if sum(entry.file_size for entry in entries) > size:
                raise InputError(f"{path}: is refused: it would be larger in memory than on the disk")
            pickles = [entry for entry in entries if entry.filename.lower().endswith("data.pkl")]
            if len(pickles) != 1 or not pickles[0].filename.endswith("/data.pkl"):
                raise InputError(f"{path}: is a zip file, but none of torch's; {EXPECTED}")
            check_pickle(path, io.BytesIO(archive.read(pickles[0])), pickles[0].file_size)
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError, UnicodeError) as error:
        raise InputError(f"{path}: is damaged, or not whole: {_short(error)}") from None


def _end_of_directory(path: Path, size: int) -> int:
    """Return where a zip file's directory of files ends, by the record at its very end."""
    with path.open("rb") as file:
        file.seek(max(0, size - 98))
        tail = file.read().rjust(98, b"\0")
    large, place, end = tail[:56], tail[56:76], tail[76:]
    if end[:4] != b"PK\5\6":
        raise InputError(f"{path}: is damaged, or not whole: a zip file without its end")
    if place[:4] == b"PK\6\7":  # the form for large files, which torch writes for all
        if large[:4] != b"PK\6\6" or struct.unpack("<Q", place[8:16])[0] != size - 98:
            return -1
        return sum(struct.unpack("<QQ", large[40:56]))
    return sum(struct.unpack("<II", end[12:20]))


def _load_torch(path: Path, is_mapped: bool) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_mapped)
    except Exception as error:  # torch documents no set of errors for a file that is not its own
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = (
            f"its pickle names {named[1]!r}, which is no part of weights" if named else type(error).__name__
        )
        raise InputError(f"{path}: is refused by torch's safe loading: {reason}") from None


def _check_sizes(path: Path, content: Any) -> None:
    """Refuse tensors that are larger than the file, a few bytes seen as many, or hold no plain numbers."""
    tensors, queue, seen = [], [content], set()
    while queue:
        value = queue.pop()
        if isinstance(value, Mapping) and id(value) not in seen:
            seen.add(id(value))
            queue.extend(value.values())
        elif isinstance(value, Tensor):
            tensors.append(value)
    for tensor in tensors:
        if tensor.layout != torch.strided or tensor.dtype not in DTYPES or tensor.device.type != "cpu":
            raise InputError(
                f"{path}: holds a tensor that is sparse, quantised or {tensor.dtype}; expected numbers"
            )
    if sum(tensor.numel() * tensor.element_size() for tensor in tensors) > path.stat().st_size:
        raise InputError(f"{path}: is refused: its tensors would be larger than the file")


def _short(error: Exception) -> str:
    return f"{' '.join(str(error).split()):.200}" or type(error).__name__


def _looks_like(head: bytes) -> str:
    text = head.lstrip().lower()
    if text.startswith(b"<"):
        return "is a web page, not a file of weights: what was downloaded is an error message"
    if text.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS, not the file itself: run `git lfs pull`"
    if text.startswith(b"{"):
        return "is JSON"
    if text.startswith((b"\x1f\x8b", b"bzh", b"\xfd7zxz", b"7z", b"rar!")):
        return "is a compressed archive: unpack it first"
    return "is no file of weights"
