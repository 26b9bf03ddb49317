"""Reading of the categories of a COCO-format file."""

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Any

from mvit_det.data.coco.fields import shorten
from mvit_det.data.coco.ids import id_key, number_ids
from mvit_det.data.problems import ProblemCollector
from mvit_det.errors import InputError, printable


def remove_project_category(data: dict[str, Any], collector: ProblemCollector) -> None:
    """Remove the category without objects that Roboflow writes for the project.

    It has the id 0, the supercategory "none", and is the supercategory of all others.
    """
    first, *others = data["categories"] or [None]
    if not others or not all(isinstance(entry, dict) for entry in data["categories"]):
        return
    name = first.get("name")
    if first.get("id") != 0 or first.get("supercategory") != "none" or name is None:
        return
    if any(other.get("supercategory") != name for other in others):
        return
    annotations = (entry for entry in data["annotations"] if isinstance(entry, dict))
    if any(id_key(entry.get("category_id")) in (0, name) for entry in annotations):
        return
    data["categories"] = others
    message = f"the category {name!r}, the name of a Roboflow project, is left out"
    collector.add("placeholder_category", "categories", 0, first, message)


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
            message = f"{shorten(category)} is not an object with id and name"
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
        if entries:
            raise InputError(str(collector.first_drop()))
        raise InputError(f"{collector.source}: categories: is empty; expected at least one entry")
    categories = list(first.values())
    ids = number_ids(first, "categories", [category["id"] for category in categories], collector)
    for key, category in first.items():
        category["id"] = ids[key]
    for name, count in Counter(category["name"] for category in categories).items():
        if count > 1:
            message = f"{count} categories have the name {name!r}"
            collector.add_list("repeated_name", "categories", "name", message)
    return categories, dict(ids)


def match_categories(categories: Mapping[int, str], others: Mapping[int, str]) -> dict[int, int] | None:
    """Return category id -> id of the same category in ``others``, or None if the categories differ.

    They are the same if ids and names agree, or if both have the same names and no name twice.
    """
    if dict(categories) == dict(others):
        return {id_: id_ for id_ in categories}
    other_ids = {name: id_ for id_, name in others.items()}
    has_unique_names = len(other_ids) == len(others) == len(categories)
    if not has_unique_names or other_ids.keys() != {*categories.values()}:
        return None
    return {id_: other_ids[name] for id_, name in categories.items()}


def unique_names(categories: list[dict[str, Any]]) -> dict[str, int]:
    """Return name -> id of the categories whose name no other category has."""
    counts = Counter(category["name"].strip() for category in categories)
    named = ((category["name"].strip(), category["id"]) for category in categories)
    return {name: id_ for name, id_ in named if counts[name] == 1}


def _name(category: dict[str, Any], index: int, key: Hashable, collector: ProblemCollector) -> None:
    name = category.get("name")
    if isinstance(name, str) and name.strip():
        category["name"] = printable_name(name)
        return
    if isinstance(name, int | float) and not isinstance(name, bool):
        category["name"] = str(name)
        message = f"{shorten(name)} is not a string; it is read as one"
    else:
        category["name"] = str(key)
        problem = "is missing" if name is None else f"{shorten(name)} is not a name"
        message = f"{problem}; the name is the id, {category['name']!r}"
    collector.add("category_name", "categories", index, category, message, "name")


def printable_name(name: str) -> str:
    """Return the name of a category without control characters, which would break tables and drawings."""
    return name if name.isprintable() else printable(name)
