"""Reading of the categories of a COCO-format file."""

from collections import Counter
from collections.abc import Hashable
from typing import Any

from mvit_det.data.coco.fields import shorten
from mvit_det.data.coco.ids import id_key, number_ids
from mvit_det.data.problems import ProblemCollector
from mvit_det.errors import InputError


def read_categories(
    entries: list[Any], collector: ProblemCollector
) -> tuple[list[dict[str, Any]], dict[Hashable, int]]:
    """Read the list ``categories``.

    A category without a name is named by its id.

    Returns:
        The usable categories, and key (see :func:`mvit_det.data.coco.ids.id_key`) -> id.

    Raises:
        InputError: if an id has several names, or if there is no usable category.
    """
    first: dict[Hashable, dict[str, Any]] = {}
    for index, category in enumerate(entries):
        if not isinstance(category, dict):
            message = f"{shorten(category)} is not an object"
            collector.add("bad_entry", "categories", index, category, message)
            continue
        key = id_key(category.get("id"))
        if key is None:
            problem = shorten(category["id"]) if "id" in category else "is missing"
            message = f"{problem}; expected a whole number"
            collector.add("bad_entry", "categories", index, category, message, "id")
            continue
        _name(category, index, key, collector)
        if key not in first:
            first[key] = category
        elif first[key]["name"] == category["name"]:
            message = f"{shorten(category['id'])} is listed again, with the same name"
            collector.add("repeated_category", "categories", index, category, message, "id")
        else:
            raise InputError(
                f"{collector.source}: categories: the id {category['id']} is repeated, with the names "
                f"{first[key]['name']!r} and {category['name']!r}; ids must be unique"
            )
    if not first:
        raise InputError(
            f"{collector.source}: categories: "
            f"{'no entry can be used' if entries else 'is empty'}; expected at least one entry"
        )
    categories = list(first.values())
    ids = number_ids(first, "categories", [category["id"] for category in categories], collector)
    for key, category in first.items():
        category["id"] = ids[key]
    for name, count in Counter(category["name"] for category in categories).items():
        if count > 1:
            message = f"{count} categories have the name {name!r}"
            collector.add_list("repeated_name", "categories", "name", message)
    return categories, dict(ids)


def _name(category: dict[str, Any], index: int, key: Hashable, collector: ProblemCollector) -> None:
    name = category.get("name")
    if isinstance(name, str) and name.strip():
        return
    if isinstance(name, int | float) and not isinstance(name, bool):
        category["name"] = str(name)
        message = f"{shorten(name)} is not a string; it is read as one"
    else:
        category["name"] = str(key)
        problem = "is missing" if name is None else f"{shorten(name)} is not a name"
        message = f"{problem}; the name is the id, {category['name']!r}"
    collector.add("category_name", "categories", index, category, message, "name")
