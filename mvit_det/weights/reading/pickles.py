"""Pickles, interpreted without calling anything that they name.

Detectron2's model zoo holds pickles of NumPy arrays. They may name arrays, data types, ordered dicts and
encoded bytes, and each of these has a stand-in here.
"""

import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from mvit_det.errors import InputError
from mvit_det.weights.reading.arrays import STAND_INS, Array, DType

MAX_STEPS = 2_000_000  # opcodes of a pickle; a detector of 1,500 arrays takes about 60,000
MAX_DEPTH = 20  # of nested containers


def load_pickle(path: Path) -> Any:
    """Return the content of a pickle, with tensors in place of NumPy arrays and lists in place of tuples.

    Raises:
        InputError: if it names anything but arrays and containers, or is damaged.
    """
    with path.open("rb") as file:
        content = run_unpickler(path, RestrictedUnpickler(LimitedFile(file, path.stat().st_size)))
    return _with_tensors(content, {})


def run_unpickler(path: Path, unpickler: "RestrictedUnpickler") -> Any:
    """Return what an unpickler builds; an error names the file.

    Raises:
        InputError: if the pickle is refused or damaged.
    """
    try:
        return unpickler.load()
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # a damaged pickle can fail in any way
        raise InputError(f"{path}: is a damaged pickle ({type(error).__name__})") from None


class LimitedFile:
    """A file that limits the number of opcodes read from it, and the bytes built from its content.

    Without these limits, an opcode could take a hundred times as much memory as it takes in the file.

    Args:
        file: positioned at a pickle.
        size: bytes of the file.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size = file, size
        self.num_steps = self.num_bytes = 0

    def read(self, length: int) -> bytes:
        self.num_steps += length == 1  # an opcode is read as a single byte
        if self.num_steps > MAX_STEPS:
            raise InputError(f"is refused: a pickle of more than {MAX_STEPS:,} steps")
        if length > self.size - self.file.tell():
            raise InputError("is a damaged pickle: it ends before its data")
        return self.file.read(length)

    def readline(self) -> bytes:
        return self.file.readline()

    def count_bytes(self, length: int) -> None:
        """Count bytes that are about to be copied into an object.

        Raises:
            InputError: if they exceed twice the size of the file in total.
        """
        self.num_bytes += length
        if self.num_bytes > 2 * self.size:
            raise InputError("is refused: it would be larger in memory than on disk")


class RestrictedUnpickler(pickle._Unpickler):  # the implementation in Python, whose opcodes can be replaced
    """An unpickler that knows only arrays and containers, and builds each from a stand-in."""

    stack: list[Any]
    read: Callable[[int], bytes]
    pop_mark: Callable[[], list[Any]]
    append: Callable[[Any], None]
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)
    buildable: ClassVar[tuple[Any, ...]] = (Array, DType)  # what the BUILD opcode may change

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
                f"is refused: its pickle names {full_name!r:.80}, which could run code or take any memory; "
                "a file of weights names only arrays, tensors and containers"
            )
        return STAND_INS[full_name]

    def encode(self, text: str, encoding: str) -> bytes:
        """Stand for ``codecs.encode``, which Python 3 uses to write bytes in old protocols."""
        if encoding != "latin1":
            raise InputError(f"is damaged: bytes in the encoding {encoding!r:.50}")
        self.count_bytes(len(text))
        return text.encode("latin1")

    def load_build(self) -> None:
        state, instance = self.stack.pop(), self.stack[-1]
        if isinstance(instance, dict):
            return  # the attributes of a state dict
        if not isinstance(instance, self.buildable):
            raise InputError(f"is refused: its pickle changes a {type(instance).__name__}")
        instance.__setstate__(state)

    def load_setitems(self) -> None:
        items = self.pop_mark()
        self.set_items(items)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.set_items([key, value])

    def set_items(self, items: list[Any]) -> None:
        """Add keys and values to the dict on the stack; only simple keys, whose hash is cheap."""
        target = self.stack[-1]
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(target, dict) or not isinstance(key, str | int | float | None):
                raise InputError(f"is refused: its pickle has a {type(key).__name__} for a key")
            target[key] = value

    def load_frame(self) -> None:
        self.read(8)  # the length of a frame, which is only a hint to read ahead

    def load_bytearray(self) -> None:
        self.append(bytearray(self.read(int.from_bytes(self.read(8), "little"))))

    def refuse(self) -> None:
        raise InputError(
            "is refused: its pickle holds a set, a dict of arbitrary keys or a very large number"
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
    """Return ``value`` with a tensor for each array; an object that occurs twice is converted once."""
    if depth > MAX_DEPTH:
        raise InputError(f"is refused: a pickle of containers nested more than {MAX_DEPTH} deep")
    if isinstance(value, Array):
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
