"""Ids of the entries of a COCO-format file."""

from collections.abc import Hashable, Iterable
from typing import Any

from mvit_det.data.coco.fields import shorten, to_whole_number
from mvit_det.data.problems import ProblemCollector

MAX_ID = 2**53  # larger whole numbers are not exact in the arrays of pycocotools


def id_key(value: Any) -> Hashable:
    """Return what identifies an entry: a whole number where ``value`` is one in any form, else a string.

    Returns:
        None if ``value`` cannot be an id.
    """
    number = to_whole_number(value)
    if number is None and isinstance(value, str):
        return value.strip() or None
    return number


def number_ids(
    keys: Iterable[Hashable], name: str, raw_ids: Iterable[Any], collector: ProblemCollector
) -> dict[Any, int]:
    """Return key -> id of the entries of a list.

    Ids that are whole numbers are kept. Otherwise, the entries are numbered 1, 2, ... in their order.

    Args:
        keys: the keys of the entries, from :func:`id_key`.
        name: the name of the list.
        raw_ids: the ids in the file.
        collector: receives a problem if the ids are not the numbers in the file.
    """
    keys = list(dict.fromkeys(keys))
    other = next((key for key in keys if not (isinstance(key, int) and abs(key) <= MAX_ID)), None)
    if other is not None:
        message = f"{shorten(other)} is not a whole number; the {name} are numbered 1, 2, ... in their order"
        collector.add_list("ids", name, "id", message)
        return {key: number for number, key in enumerate(keys, start=1)}
    string = next((raw_id for raw_id in raw_ids if isinstance(raw_id, str)), None)
    if string is not None:
        message = f"{shorten(string)} is a string; the ids are read as whole numbers"
        collector.add_list("ids", name, "id", message)
    return dict(zip(keys, keys, strict=True))  # type: ignore[arg-type] # all are integers
