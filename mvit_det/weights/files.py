"""Files of weights, told apart by what is in them, and read without running anything that they hold."""

import json
import mmap
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor

from mvit_det.errors import InputError
from mvit_det.weights.unpickle import load_pickle

ZIP, PICKLE = b"PK\x03\x04", b"\x80"
OLD_TORCH = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # the number that torch wrote first before 1.6
EXPECTED = "expected .safetensors, .pth, .pyth, .ckpt or .pkl with the weights of an MViT"


def read_file(path: Path) -> Any:
    """Return what a file of weights holds: mostly a dict, somewhere in it one of names to tensors.

    Tensors are those of safetensors, of torch's own files, or of a pickle of NumPy arrays. They are
    mapped into memory where the format allows it.

    Raises:
        InputError: if the file is missing, empty, damaged, no file of weights, or would run code.
    """
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
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
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
                _check_names(path, whole)
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
    except (OSError, ValueError) as error:
        raise InputError(f"{beside}: cannot be read as JSON: {error}") from None
    if not isinstance(config, dict):
        raise InputError(f"{beside}: holds a {type(config).__name__}; expected a JSON object")
    return config


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (safetensors.SafetensorError, OSError, KeyError) as error:
        raise InputError(f"{path}: is a damaged safetensors file: {error}") from None


def _check_zip(path: Path) -> None:
    """Refuse what torch would unpack into more memory than the file has bytes."""
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            for entry in entries:
                if entry.compress_type != zipfile.ZIP_STORED:
                    raise InputError(
                        f"{path}: is refused: {entry.filename!r} is compressed, to be {entry.file_size:,} "
                        "bytes in memory; torch writes files that are not"
                    )
            if sum(entry.file_size for entry in entries) > size:
                raise InputError(f"{path}: is refused: it would be larger in memory than on the disk")
            for entry in entries:
                if entry.filename.endswith("data.pkl"):
                    _check_names(path, archive.read(entry))
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{path}: is damaged, or not whole: {error}") from None


def _check_names(path: Path, pickled: bytes | mmap.mmap) -> None:
    if pickled.find(b"bytearray") >= 0:  # which torch's safe loading would make, of any size
        raise InputError(
            f"{path}: is refused: its pickle names builtins.bytearray, which could take any memory"
        )


def _load_torch(path: Path, is_mapped: bool) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_mapped)
    except Exception as error:  # torch documents no set of errors for a file that is not its own
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = f"is damaged, or no file of torch: {str(error).splitlines()[0]}"
        if named:
            reason = (
                f"is refused: its pickle names {named[1]}, which could run code; a file of weights names "
                "tensors and containers alone"
            )
        raise InputError(f"{path}: {reason}") from None


def _check_sizes(path: Path, content: Any) -> None:
    """Refuse a tensor that would be larger than the file: a few bytes seen as many."""
    size, queue, seen = path.stat().st_size, [content], set()
    while queue:
        value = queue.pop()
        if isinstance(value, Mapping) and id(value) not in seen:
            seen.add(id(value))
            queue.extend(value.values())
        elif isinstance(value, Tensor) and (value.layout != torch.strided or value.is_quantized):
            raise InputError(f"{path}: holds a tensor that is sparse or quantised; expected dense ones")
        elif isinstance(value, Tensor) and value.numel() * value.element_size() > size:
            raise InputError(f"{path}: is refused: a tensor of shape {tuple(value.shape)} is not in it whole")


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
