"""Batches of items that belong together, such as images of the same size."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def apply_in_batches(
    function: Callable[[list[T]], list[R]],
    items: Iterable[T],
    batch_size: int,
    key: Callable[[T], Hashable],
) -> Iterator[tuple[T, R]]:
    """Apply a function to batches of items with the same key; yield each item with its result, in order.

    The items are taken ``batch_size`` at a time. If their keys differ, they are divided into smaller batches.

    Args:
        function: function from a list of items to the list of their results.
        items: the items.
        batch_size: the largest number of items in a batch.
        key: function from an item to its key.

    Raises:
        ValueError: if ``batch_size`` is less than 1.
        Exception: what ``items`` raises, after the results of the items before it.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size {batch_size}: must be at least 1")
    iterator = iter(items)
    while True:
        taken: list[T] = []
        error: Exception | None = None
        try:
            taken.extend(islice(iterator, batch_size))
        except Exception as raised:  # after the results of the items before it
            error = raised
        batches: dict[Hashable, list[int]] = {}
        for index, item in enumerate(taken):
            batches.setdefault(key(item), []).append(index)
        results: dict[int, R] = {}
        for indexes in batches.values():
            results |= zip(indexes, function([taken[index] for index in indexes]), strict=True)
        for index, item in enumerate(taken):
            yield item, results.pop(index)
        if error is not None:
            raise error
        if not taken:
            return
