"""Reads pickles of NumPy arrays, as in Detectron2's model zoo, without calling anything that they name.

Such a pickle may name arrays, data types, ordered dicts and encoded bytes. Stand-ins replace all of them.
"""

import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from mvit_det.errors import InputError
from mvit_det.weights.reading.arrays import STAND_INS, Array, DType

MAX_OPCODES = 2_000_000  # take some 5 s; a detector of 1,500 arrays has about 60,000
MAX_DEPTH = 20  # levels of nested containers


def load_pickle(path: Path) -> Any:
    """Return the content of a pickle, with tensors in place of NumPy arrays and lists in place of tuples.

    Raises:
        InputError: if it names anything but arrays and containers, or is damaged.
    """
    with path.open("rb") as file:
        content = run_unpickler(path, RestrictedUnpickler(LimitedFile(file, path.stat().st_size)))
    try:
        return _with_tensors(content, {})
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def run_unpickler(path: Path, unpickler: "RestrictedUnpickler") -> Any:
    """Return the object that an unpickler builds, and name the file in error messages.

    Raises:
        InputError: if the pickle is refused or damaged.
    """
    try:
        return unpickler.load()
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # a damaged pickle can raise any exception
        raise InputError(f"{path}: is a damaged pickle ({type(error).__name__})") from None


class LimitedFile:
    """A file that limits the number of opcodes read from it, and the bytes built from its content.

    Without these limits, the objects could take a hundred times as much memory as the file has bytes.

    Args:
        file: file whose current position is the start of a pickle, which others may follow.
        size: number of bytes in the file.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size = file, size
        self.num_opcodes = self.num_bytes = 0

    def read(self, length: int) -> bytes:
        self.num_opcodes += length == 1  # an opcode is read as a single byte
        if self.num_opcodes > MAX_OPCODES:
            raise InputError(f"is refused: its pickle has more than {MAX_OPCODES:,} opcodes")
        if length > self.size - self.file.tell():
            raise InputError("is a damaged pickle: its data are incomplete")
        return self.file.read(length)

    def readline(self) -> bytes:
        return self.file.readline()

    def count_bytes(self, length: int) -> None:
        """Add to the number of bytes copied into objects, before they are copied.

        Raises:
            InputError: if the total exceeds twice the size of the file.
        """
        self.num_bytes += length
        if self.num_bytes > 2 * self.size:
            raise InputError("is refused: it would be larger in memory than on disk")


class RestrictedUnpickler(pickle._Unpickler):  # in Python, so that the handlers of opcodes can be replaced
    """An unpickler that builds only plain containers and the objects of :data:`STAND_INS`."""

    stack: list[Any]
    read: Callable[[int], bytes]
    pop_mark: Callable[[], list[Any]]
    append: Callable[[Any], None]
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)
    buildable: ClassVar[tuple[Any, ...]] = (Array, DType)  # classes whose state the BUILD opcode may set

    def __init__(self, file: LimitedFile) -> None:
        super().__init__(file, encoding="latin1")
        self.count_bytes = file.count_bytes

    def find_class(self, module: str, name: str) -> Any:
        full_name = f"{module}.{name}"
        if full_name == "numpy.dtype":
            return partial(DType, self.count_bytes)
        if full_name == "_codecs.encode":
            return self.encode
        if full_name not in STAND_INS:
            raise InputError(
                f"is refused: its pickle names {full_name!r:.80}, which could run code or take any amount of "
                "memory; weights need only arrays, tensors and containers"
            )
        return STAND_INS[full_name]

    def encode(self, text: str, encoding: str) -> bytes:
        """Replace ``codecs.encode``, with which Python 3 writes bytes in protocols 0 to 2."""
        if encoding != "latin1":
            raise InputError(f"is damaged: its bytes have the encoding {encoding!r:.50}")
        self.count_bytes(len(text))
        return text.encode("latin1")

    def load_build(self) -> None:
        state, instance = self.stack.pop(), self.stack[-1]
        if isinstance(instance, dict):
            return  # ignores the attributes of a state dict
        if not isinstance(instance, self.buildable):
            raise InputError(f"is refused: its pickle sets the state of a {type(instance).__name__}")
        instance.__setstate__(state)

    def load_setitems(self) -> None:
        items = self.pop_mark()
        self.set_items(items)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.set_items([key, value])

    def set_items(self, items: list[Any]) -> None:
        """Add keys and values to the dict on the stack. A key must be a string, a number or None."""
        target = self.stack[-1]
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(target, dict) or not isinstance(key, str | int | float | None):
                raise InputError(f"is refused: its pickle uses a {type(key).__name__} as a key")
            target[key] = value

    def load_frame(self) -> None:
        self.read(8)  # skips the length of the frame, which is only a hint for reading ahead

    def load_bytearray(self) -> None:
        self.append(bytearray(self.read(int.from_bytes(self.read(8), "little"))))

    def refuse(self) -> None:
        raise InputError(
            "is refused: its pickle holds a set, a dict with arbitrary keys or a very large number"
        )

    dispatch |= {
        pickle.BUILD[0]: load_build,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.FRAME[0]: load_frame,
        pickle.BYTEARRAY8[0]: load_bytearray,
    }
    dispatch |= dict.fromkeys(
        (opcode[0] for opcode in (pickle.DICT, pickle.ADDITEMS, pickle.FROZENSET, pickle.LONG4)), refuse
    )


def _with_tensors(value: Any, seen: dict[int, Any], depth: int = 0) -> Any:
    """Replace each array in nested containers by its tensor. Converts a shared object only once."""
    if depth > MAX_DEPTH:
        raise InputError(f"is refused: its containers are nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, Array):
        if value.tensor is None:
            raise InputError("is a damaged pickle: an array has no data")
        return value.tensor
    if id(value) in seen:
        return seen[id(value)]
    converted = value
    if isinstance(value, dict):
        converted = {key: _with_tensors(item, seen, depth + 1) for key, item in value.items()}
    elif isinstance(value, list | tuple):
        converted = [_with_tensors(item, seen, depth + 1) for item in value]
    seen[id(value)] = converted
    return converted
