"""Checks pickles of ``torch.save`` before torch reads them, by interpreting them with placeholders."""

from pathlib import Path
from typing import Any

from mvit_det.errors import InputError
from mvit_det.weights.reading.pickles import LimitedFile, RestrictedUnpickler, run_unpickler

# Type of a storage -> number of bytes of an element. Elements of the other types have one byte.
ITEM_BYTES = {"BFloat16": 2, "Half": 2, "Short": 2, "Float": 4, "Int": 4, "QInt32": 4, "Double": 8, "Long": 8}
ITEM_BYTES |= {"ComplexFloat": 8, "ComplexDouble": 16}


def check_pickle(path: Path, file: LimitedFile) -> int:
    """Interpret a pickle of torch without building the objects that it names.

    Args:
        path: path for the error message.
        file: file whose current position is the start of the pickle; afterwards, it is the end.

    Returns:
        The number of bytes in the storages that the pickle refers to.

    Raises:
        InputError: if the pickle names anything but tensors and containers, or is damaged.
    """
    checker = _TorchChecker(file)
    run_unpickler(path, checker)
    return sum(checker.storage_bytes.values())


class _Placeholder:
    """Stands for an object of torch."""

    def __init__(self, *arguments: Any) -> None:
        _check_view(arguments)

    def __setstate__(self, state: Any) -> None:
        _check_view(state)


class _StorageType(_Placeholder):
    """Stands for a type of storage, such as ``torch.FloatStorage``."""

    def __init__(self, name: str) -> None:
        self.item_bytes = ITEM_BYTES.get(name.removesuffix("Storage"), 1)


class _Storage(_Placeholder):
    """Stands for a storage of ``num_items`` elements."""

    def __init__(self, num_items: int) -> None:
        self.num_items = num_items


class _Size(_Placeholder):
    """Stands for a ``torch.Size``. torch would iterate over its argument, which could be a huge tensor."""

    def __init__(self, sides: Any) -> None:
        if not isinstance(sides, tuple | list):
            raise InputError(
                "is refused: its pickle makes a torch.Size of something other than a list or tuple"
            )
        self.sides = sides


def _check_view(arguments: Any) -> None:
    """Refuse a tensor that reaches beyond its storage, which torch would enlarge.

    Args:
        arguments: arguments of a function of torch, or the state of an object. The first four of a tensor
            are its storage, offset, size and stride.
    """
    is_view = (
        isinstance(arguments, tuple | list) and len(arguments) >= 4 and isinstance(arguments[0], _Storage)
    )
    if not is_view:
        return
    storage, offset, size, stride = arguments[:4]
    size = size.sides if isinstance(size, _Size) else size
    stride = stride.sides if isinstance(stride, _Size) else stride
    if not (isinstance(size, tuple | list) and isinstance(stride, tuple | list) and len(size) == len(stride)):
        raise InputError("is damaged: the size and the stride of a tensor do not fit each other")
    if not all(isinstance(value, int) and value >= 0 for value in (offset, *size, *stride)):
        raise InputError("is damaged: the size of a tensor is not made of numbers")
    if 0 in size:
        return
    end = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True)) + 1
    if end > storage.num_items:
        raise InputError("is damaged or incomplete: a tensor reaches beyond its storage")


class _TorchChecker(RestrictedUnpickler):
    """An unpickler that replaces every object of torch by a placeholder.

    Attributes:
        storage_bytes: key of a storage -> its number of bytes.
    """

    buildable = (*RestrictedUnpickler.buildable, _Placeholder)

    def __init__(self, file: LimitedFile) -> None:
        super().__init__(file)
        self.storage_bytes: dict[str, int] = {}

    def find_class(self, module: str, name: str) -> Any:
        # torch.load checks names of torch against a list of its own. That list includes
        # _rebuild_from_type_v2, which could replace methods.
        if module.partition(".")[0] == "torch" and name != "_rebuild_from_type_v2":
            if name.endswith("Storage"):
                return _StorageType(name)
            return _Size if name == "Size" else _Placeholder
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> _Storage:
        """Count the bytes of a storage, which a tuple describes."""
        kind, key, num_items = pid[1], str(pid[2]), pid[4]
        if not isinstance(kind, _StorageType) or not isinstance(num_items, int) or num_items < 0:
            raise InputError("is damaged: a storage is described by something other than its size")
        self.storage_bytes[key] = max(self.storage_bytes.get(key, 0), num_items * kind.item_bytes)
        return _Storage(num_items)
