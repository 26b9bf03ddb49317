"""Pickles stepped through without calling anything that they name.

A pickle of NumPy arrays, as Detectron2's model zoo holds them, is read: what it may name are arrays,
their types, ordered dicts and encoded bytes, each with a stand-in here. One of torch's is checked
before torch reads it.
"""

import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from mvit_det.errors import InputError
from mvit_det.weights.reading.arrays import KNOWN, Array, DType

MAX_STEPS = 2_000_000  # of the pickle's machine; a detector of 1,500 arrays takes some 60,000


def load_pickle(path: Path) -> Any:
    """Return what a pickle holds, with tensors in place of NumPy arrays.

    Raises:
        InputError: if it names anything else than arrays and containers, or is damaged.
    """
    with path.open("rb") as file:
        return _tensors(_run(path, _Unpickler(_Budget(file, path.stat().st_size))), {})


def check_pickle(path: Path, file: BinaryIO, size: int) -> None:
    """Step through a pickle of torch's without building what it names; leave ``file`` behind its end.

    Torch's own safe loading can be made to take any memory, or to crash.

    Args:
        path: for the message.
        file: at the start of the pickle.
        size: bytes of the file.

    Raises:
        InputError: if it names anything else than torch's tensors and containers, or is damaged.
    """
    _run(path, _Checker(_Budget(file, size)))


def _run(path: Path, unpickler: "_Unpickler") -> Any:
    try:
        return unpickler.load()
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # a damaged pickle can fail in any way
        raise InputError(f"{path}: is a damaged pickle ({type(error).__name__})") from None


class _Budget:
    """A file that counts the pickle's steps, and the bytes that are made of what it holds.

    Without these limits a step could take a hundred times the memory that it takes in the file.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size = file, size
        self.steps = self.taken = 0

    def read(self, number: int) -> bytes:
        self.steps += number == 1  # with which each step begins
        if self.steps > MAX_STEPS:
            raise InputError(f"is refused: a pickle of more than {MAX_STEPS:,} steps")
        if number > self.size - self.file.tell():
            raise InputError("is a damaged pickle: it ends before its data")
        return self.file.read(number)

    def readline(self) -> bytes:
        return self.file.readline()

    def take(self, number: int) -> None:
        self.taken += number
        if self.taken > 2 * self.size:
            raise InputError("is refused: it would be larger in memory than on the disk")


class _Unpickler(pickle._Unpickler):  # the one in Python, whose every step can be seen
    stack: list[Any]
    read: Callable[[int], bytes]
    pop_mark: Callable[[], list[Any]]
    append: Callable[[Any], None]
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: _Budget) -> None:
        super().__init__(file, encoding="latin1")
        self.take = file.take

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full == "numpy.dtype":
            return partial(DType, self.take)
        if full == "_codecs.encode":
            return self.encode
        if full not in KNOWN:
            raise InputError(
                f"is refused: its pickle names {full!r:.80}, which could run code or take any memory; a file "
                "of weights names arrays, tensors and containers alone"
            )
        return KNOWN[full]

    def encode(self, text: str, encoding: str) -> bytes:
        """What Python 3 writes for bytes in an old protocol."""
        if encoding != "latin1":
            raise InputError(f"is damaged: bytes in the encoding {encoding!r:.50}")
        self.take(len(text))
        return text.encode("latin1")

    def load_build(self) -> None:
        state, instance = self.stack.pop(), self.stack[-1]
        if isinstance(instance, dict):
            return  # attributes of a state dict
        if not isinstance(instance, Array | DType | _Unbuilt):
            raise InputError(f"is refused: its pickle changes a {type(instance).__name__}")
        instance.__setstate__(state)

    def load_setitems(self) -> None:
        items = self.pop_mark()
        self.set_items(items)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.set_items([key, value])

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(target, dict) or not isinstance(key, str | int | float | None):
                raise InputError(f"is refused: its pickle has a {type(key).__name__} for a key")
            target[key] = value

    def load_frame(self) -> None:
        self.read(8)  # how many bytes to read at once: they are read one step after the other

    def load_bytearray(self) -> None:
        self.append(bytearray(self.read(int.from_bytes(self.read(8), "little"))))

    def refuse(self) -> None:
        raise InputError(
            "is refused: its pickle holds a set, a dictionary of any keys or a very large number"
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


class _Unbuilt:
    """Stands for whatever torch would make of what a pickle names."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class _Size(_Unbuilt):
    """Stands for a size: of numbers alone, since torch would go through a tensor one by one."""

    def __init__(self, sides: Any) -> None:
        if not isinstance(sides, tuple | list):
            raise InputError("is refused: its pickle makes a size of other things than numbers")


class _Checker(_Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        # Torch has a list of its own of what of torch may be named; this one could replace methods.
        if module.partition(".")[0] == "torch" and name != "_rebuild_from_type_v2":
            return _Size if name == "Size" else _Unbuilt
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> _Unbuilt:
        return _Unbuilt()


def _tensors(value: Any, seen: dict[int, Any], depth: int = 0) -> Any:
    """Return ``value`` with tensors for arrays; what stands in several places is seen to once."""
    if depth > 20:
        raise InputError("is refused: a pickle of containers nested more than 20 deep")
    if isinstance(value, Array):
        return value.tensor
    if id(value) in seen:
        return seen[id(value)]
    found = value
    if isinstance(value, dict):
        found = {key: _tensors(item, seen, depth + 1) for key, item in value.items()}
    elif isinstance(value, list | tuple):
        found = [_tensors(item, seen, depth + 1) for item in value]
    seen[id(value)] = found
    return found
