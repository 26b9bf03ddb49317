"""Pickles of NumPy arrays, read without NumPy and without calling anything that a file names.

Detectron2's model zoo holds such files. What a pickle may name are arrays, their types, ordered dicts
and encoded bytes; each stands for a class or a function of this module.
"""

import math
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import torch
from torch import Tensor

from mvit_det.errors import InputError

MAX_STEPS = 2_000_000  # of the pickle's machine; a detector of 1,500 arrays takes some 60,000
DTYPES = {
    "f2": torch.float16,
    "f4": torch.float32,
    "f8": torch.float64,
    "i1": torch.int8,
    "i2": torch.int16,
    "i4": torch.int32,
    "i8": torch.int64,
    "u1": torch.uint8,
    "b1": torch.bool,
}


def load_pickle(path: Path) -> Any:
    """Return what a pickle holds, with tensors in place of NumPy arrays.

    Raises:
        InputError: if it names anything else than arrays and containers, or is damaged.
    """
    with path.open("rb") as file:
        try:
            return _tensors(_Unpickler(_Steps(file, path.stat().st_size)).load())
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        except Exception as error:  # a damaged pickle can fail in any way
            raise InputError(f"{path}: is a damaged pickle: {error or type(error).__name__}") from None


class _Array:
    """Stands for a NumPy array until its data follow."""

    tensor: Tensor

    def __setstate__(self, state: tuple[int, tuple[int, ...], "_DType", bool, bytes | str]) -> None:
        _, shape, dtype, is_fortran, data = state
        self.tensor = dtype.tensor(data, shape, is_fortran)


class _DType:
    """Stands for a NumPy data type."""

    def __init__(self, code: str, *_: Any) -> None:
        if code not in DTYPES:
            raise InputError(f"holds an array of type {code!r}; expected numbers, {', '.join(DTYPES)}")
        self.dtype, self.order = DTYPES[code], "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def tensor(self, data: bytes | str, shape: tuple[int, ...], is_fortran: bool) -> Tensor:
        if self.order == ">":
            raise InputError("holds big-endian numbers; expected little-endian ones")
        data = data.encode("latin1") if isinstance(data, str) else data  # a string to Python 2
        expected = math.prod(shape) * self.dtype.itemsize
        if len(data) != expected:
            raise InputError(f"is damaged: an array of shape {shape} has {len(data)} bytes, not {expected}")
        if not data:
            return torch.empty(shape, dtype=self.dtype)
        flat = torch.frombuffer(bytearray(data), dtype=self.dtype)
        return flat.view(shape[::-1]).permute(*range(len(shape))[::-1]) if is_fortran else flat.view(shape)


def _scalar(dtype: _DType, data: bytes | str) -> Any:
    return dtype.tensor(data, (), False).item()


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _frombuffer(data: bytes, dtype: _DType, shape: tuple[int, ...], order: str) -> _Array:
    array = _Array()
    array.tensor = dtype.tensor(data, shape, is_fortran=order == "F")
    return array


def _empty_bytes() -> bytes:
    return b""


def _encode(text: str, encoding: str) -> bytes:
    """What Python 3 writes for bytes in an old protocol."""
    if encoding != "latin1":
        raise InputError(f"is damaged: bytes in the encoding {encoding!r}")
    return text.encode("latin1")


_KNOWN: dict[str, Any] = {
    "numpy.ndarray": _Array,
    "numpy.dtype": _DType,
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _frombuffer,
    "numpy._core.numeric._frombuffer": _frombuffer,
    "collections.OrderedDict": OrderedDict,
    "__builtin__.bytes": _empty_bytes,
    "_codecs.encode": _encode,
}


class _Steps:
    """A file that counts the machine's steps and hands out no more bytes than there are.

    Each step begins with a read of one byte. Without a limit a step can take a hundred times the
    memory that it takes in the file.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size, self.steps = file, size, 0

    def read(self, number: int) -> bytes:
        self.steps += number == 1
        if self.steps > MAX_STEPS:
            raise InputError(f"is refused: a pickle of more than {MAX_STEPS:,} steps")
        if number > self.size - self.file.tell():
            raise InputError("is a damaged pickle: it ends before its data")
        return self.file.read(number)

    def readline(self) -> bytes:
        return self.file.readline()


class _Unpickler(pickle._Unpickler):  # the one in Python, whose every step can be seen
    stack: list[Any]
    read: Callable[[int], bytes]
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: _Steps) -> None:
        super().__init__(file, encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in _KNOWN:
            raise InputError(
                f"is refused: this pickle names {module}.{name}, which could run code; a file of weights "
                "names arrays and containers alone"
            )
        return _KNOWN[f"{module}.{name}"]

    def load_build(self) -> None:
        state, instance = self.stack.pop(), self.stack[-1]
        if not isinstance(instance, _Array | _DType):
            raise InputError(f"is refused: this pickle changes a {type(instance).__name__}")
        instance.__setstate__(state)

    def load_frame(self) -> None:
        self.read(8)  # how many bytes to read at once: they are read one step after the other

    dispatch[pickle.BUILD[0]], dispatch[pickle.FRAME[0]] = load_build, load_frame


def _tensors(value: Any, depth: int = 0) -> Any:
    if depth > 20:
        raise InputError("is refused: a pickle of containers nested more than 20 deep")
    if isinstance(value, _Array):
        return value.tensor
    if isinstance(value, dict):
        return {key: _tensors(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_tensors(item, depth + 1) for item in value]
    return value
