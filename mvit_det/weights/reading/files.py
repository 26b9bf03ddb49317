"""Weight files of every format, recognized by their first bytes."""

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

PICKLE_MAGIC = b"\x80"
MAX_HEADER = 2**24  # bytes of a safetensors header; the largest variant needs 2**18
DTYPES = {
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2),
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
}
EXPECTED = "expected .safetensors, .pth, .pyth, .ckpt or .pkl with the weights of an MViT"


def read_file(path: Path) -> Any:
    """Return the content of a weight file, usually a dict that has a state dict at the top or below.

    The file is one of safetensors, of ``torch.save``, or a pickle of NumPy arrays, which become tensors.
    Tensors are mapped into memory where the format allows it.

    Raises:
        InputError: if the file is missing, empty, damaged, not a weight file, or not safe to read.
    """
    start = _read_start(path)
    if start.startswith(ZIP_MAGIC):
        content = load_torch_zip(path)
    elif start[8:9] == b"{":  # after the length of the header, which can be any eight bytes
        content = _load_safetensors(path)
    elif start.startswith(PICKLE_MAGIC):
        content = load_torch_legacy(path) if LEGACY_MAGIC in start else load_pickle(path)
    else:
        raise InputError(f"{path}: {_describe_other_file(start)}; {EXPECTED}")
    _check_tensors(path, content)
    return content


def read_config(path: Path) -> dict[str, Any]:
    """Return the configuration that :func:`mvit_det.weights.save_weights` wrote beside a weight file.

    Raises:
        InputError: if it cannot be read, or is not a JSON object.
    """
    config_path = path.with_suffix(".json")
    try:
        config = json.loads(config_path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{config_path}: cannot be read as JSON: {' '.join(str(error).split()):.200}"
        ) from None
    if not isinstance(config, dict):
        raise InputError(f"{config_path}: holds a {type(config).__name__}; expected a JSON object")
    return config


def _read_start(path: Path) -> bytes:
    """Return the first bytes of a regular file that is not empty."""
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
    if length > MAX_HEADER:
        raise InputError(f"{path}: is a damaged safetensors file: a header of {length:,} bytes")
    try:
        return load_file(path)
    except Exception as error:  # a damaged header can fail in any way
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: is a damaged safetensors file: {reason:.200}") from None


def _check_tensors(path: Path, content: Any) -> None:
    """Refuse tensors of other than plain numbers, and views that together are larger than the file."""
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
                f"{path}: holds a tensor that is sparse, quantized or {tensor.dtype}; expected plain numbers"
            )
    if sum(tensor.numel() * tensor.element_size() for tensor in tensors) > path.stat().st_size:
        raise InputError(f"{path}: is refused: its tensors would be larger than the file")


def _describe_other_file(start: bytes) -> str:
    """Say what a file is that is not a weight file."""
    text = start.lstrip().lower()
    if text.startswith(b"<"):
        return "is a web page, not a file of weights: the server sent an error message"
    if text.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS, not the file itself: run `git lfs pull`"
    if text.startswith(b"{"):
        return "is JSON"
    if text.startswith((b"\x1f\x8b", b"bzh", b"\xfd7zxz", b"7z", b"rar!")):
        return "is a compressed archive: unpack it first"
    return "is not a file of weights"
