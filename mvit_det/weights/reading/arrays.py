"""Stand-ins for the NumPy objects in a pickle. They build tensors and do not call NumPy."""

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mvit_det.errors import InputError, counted

NUMPY_DTYPES = {  # type code -> dtype of the tensor
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


class Array:
    """Stands for a NumPy array. A pickle creates the array first, and then sets its data."""

    tensor: Tensor | None = None

    def __setstate__(self, state: tuple[int, tuple[int, ...], "DType", bool, bytes | str]) -> None:
        _, shape, dtype, is_fortran, data = state
        self.tensor = dtype.tensor(data, shape, is_fortran)


class DType:
    """Stands for a NumPy data type.

    Args:
        count_bytes: called with the number of bytes of each array before they are copied.
        code: NumPy's type code, such as ``"f4"``.

    Raises:
        InputError: if the type is not one of :data:`NUMPY_DTYPES`.
    """

    def __init__(self, count_bytes: Callable[[int], None], code: str, *_: Any) -> None:
        if code not in NUMPY_DTYPES:
            raise InputError(
                f"holds an array of type {code!r:.50}; expected one of {', '.join(NUMPY_DTYPES)}"
            )
        self.count_bytes, self.dtype, self.order = count_bytes, NUMPY_DTYPES[code], "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def tensor(self, data: bytes | str, shape: tuple[int, ...], is_fortran: bool) -> Tensor:
        """Return a tensor with a copy of an array's data.

        Args:
            data: the bytes of the array; in a pickle of Python 2, a string of Latin-1 characters.
            shape: shape of the array.
            is_fortran: whether the first axis varies fastest.

        Raises:
            InputError: if the data do not fit the shape and the type, or are big-endian.
        """
        if self.order == ">":
            raise InputError("holds big-endian numbers; expected little-endian")
        if len(shape) > 8 or not all(isinstance(side, int) and 0 <= side < 2**40 for side in shape):
            raise InputError("is damaged: the shape of an array is invalid")
        data = data.encode("latin1") if isinstance(data, str) else data
        self.count_bytes(len(data))
        expected = math.prod(shape) * self.dtype.itemsize
        if len(data) != expected:
            size = counted(len(data), "byte")
            raise InputError(f"is damaged: an array of shape {shape} has {size}, not {expected:,}")
        if not data:
            return torch.empty(shape, dtype=self.dtype)
        flat = torch.frombuffer(bytearray(data), dtype=self.dtype)
        return flat.view(shape[::-1]).permute(*range(len(shape))[::-1]) if is_fortran else flat.view(shape)

    def scalar(self, data: bytes | str) -> Any:
        """Return a NumPy scalar as a Python number."""
        return self.tensor(data, (), False).item()


def _reconstruct(*_: Any) -> Array:
    return Array()


def _frombuffer(
    data: bytes, dtype: DType, shape: tuple[int, ...], order: str, axes: tuple[int, ...] | None = None
) -> Array:
    array = Array()
    tensor = dtype.tensor(data, shape, is_fortran=order == "F")
    array.tensor = tensor if axes is None else tensor.permute(*axes)
    return array


def _empty_bytes() -> bytes:
    return b""


def _empty_dict() -> OrderedDict[Any, Any]:
    return OrderedDict()


# Full name in a pickle -> the function or class that replaces it.
STAND_INS: dict[str, Any] = {
    "numpy.ndarray": Array,
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy.core.multiarray.scalar": DType.scalar,
    "numpy._core.multiarray.scalar": DType.scalar,
    "numpy.core.numeric._frombuffer": _frombuffer,
    "numpy._core.numeric._frombuffer": _frombuffer,
    "collections.OrderedDict": _empty_dict,
    "__builtin__.bytes": _empty_bytes,
}
