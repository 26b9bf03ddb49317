"""Reads weight files. Their first bytes show whether safetensors, torch or pickle wrote them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from mvit_det.errors import InputError
from mvit_det.weights.reading.pickles import load_pickle
from mvit_det.weights.reading.torch_files import LEGACY_MAGIC, ZIP_MAGIC, load_torch_legacy, load_torch_zip

PICKLE_MAGIC = b"\x80"  # of protocol 2 and later
MAX_HEADER_BYTES = 2**24  # of a safetensors file; the largest variant needs 2**18
ALLOWED_DTYPES = {
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2),
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
}
MAX_CONFIG_BYTES = 2**24  # of the JSON beside a weight file
EXPECTED = "expected .safetensors, .pth, .pyth, .ckpt or .pkl with the weights of an MViT"


def read_file(path: Path) -> Any:
    """Return the content of a weight file, which usually is a state dict or a dict that contains one.

    The file may be a safetensors file, a file of ``torch.save``, or a pickle of NumPy arrays, which become
    tensors. The tensors are mapped into memory if the format allows it.

    Raises:
        InputError: if the file is missing, empty, damaged, not a weight file, or not safe to read.
    """
    start = _read_start(path)
    if start.startswith(ZIP_MAGIC):
        content = load_torch_zip(path)
    elif start[8:9] == b"{":  # the JSON header follows its length of eight bytes
        content = _load_safetensors(path)
    elif start.startswith(PICKLE_MAGIC):
        content = load_torch_legacy(path) if LEGACY_MAGIC in start else load_pickle(path)
    else:
        raise InputError(f"{path}: {_describe_other_file(start)}; {EXPECTED}")
    _check_tensors(path, content)
    return content


def read_config(path: Path) -> dict[str, Any]:
    """Return the configuration that :func:`mvit_det.weights.save_weights` wrote for a weight file.

    Args:
        path: path of the weight file; the configuration has the suffix ``.json``.

    Raises:
        InputError: if the configuration cannot be read, or is not a JSON object.
    """
    config_path = path.with_suffix(".json")
    try:
        if not config_path.is_file():  # to read a pipe would wait
            raise OSError("is not a file")
        if config_path.stat().st_size > MAX_CONFIG_BYTES:
            raise OSError(f"has more than {MAX_CONFIG_BYTES:,} bytes")
        config = json.loads(config_path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{config_path}: cannot be read as JSON: {' '.join(str(error).split()):.200}"
        ) from None
    if not isinstance(config, dict):
        raise InputError(f"{config_path}: holds a {type(config).__name__}; expected a JSON object")
    return config


def _read_start(path: Path) -> bytes:
    """Return the first 512 bytes of a file, and check that it is a regular file and not empty."""
    try:
        if not path.exists():
            raise InputError(f"{path}: no such file")
        if not path.is_file():
            raise InputError(f"{path}: is not a file; {EXPECTED}")
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if not start:
        raise InputError(f"{path}: is empty; {EXPECTED}")
    return start


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER_BYTES:
        raise InputError(f"{path}: is a damaged safetensors file: its header would take {length:,} bytes")
    try:
        return load_file(path)
    except Exception as error:  # safetensors documents no set of exceptions for a damaged header
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: is a damaged safetensors file: {reason:.200}") from None


def _check_tensors(path: Path, content: Any) -> None:
    """Refuse sparse and quantized tensors, and tensors that together are larger than the file."""
    tensors, queue, seen = [], [content], set()
    while queue:
        value = queue.pop()
        if isinstance(value, Mapping) and id(value) not in seen:
            seen.add(id(value))
            queue.extend(value.values())
        elif isinstance(value, Tensor):
            tensors.append(value)
    for tensor in tensors:
        if (
            tensor.layout != torch.strided
            or tensor.dtype not in ALLOWED_DTYPES
            or tensor.device.type != "cpu"
        ):
            raise InputError(
                f"{path}: holds a tensor of {tensor.dtype} ({tensor.layout}, {tensor.device.type}); expected "
                "dense tensors of real numbers"
            )
    if sum(tensor.numel() * tensor.element_size() for tensor in tensors) > path.stat().st_size:
        raise InputError(f"{path}: is refused: its tensors would be larger than the file")


def _describe_other_file(start: bytes) -> str:
    """Describe a file that is not a weight file, for an error message."""
    text = start.lstrip().lower()
    if text.startswith(b"<"):
        return "is a web page, not a weight file: the server sent an error message"
    if text.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the file itself: run `git lfs pull`"
    if text.startswith(b"{"):
        return "is JSON"
    if text.startswith((b"\x1f\x8b", b"bzh", b"\xfd7zxz", b"7z", b"rar!")):
        return "is a compressed archive: unpack it first"
    return "is not a weight file"
