"""Tables of the statistics of a data set for the terminal."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from mvit_det.data.statistics import Statistics, min_median_max
from mvit_det.errors import counted

NUM_CLASSES = 30  # rows of the table of classes


def statistics_table(splits: Mapping[str, Statistics]) -> Table:
    """Return a table with a column for each split."""
    table = Table(
        "", *splits, title_justify="left", title="Statistics (three numbers: minimum / median / maximum)"
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for title, value in _ROWS.items():
        table.add_row(title, *(value(split) for split in splits.values()))
    return table


def classes_table(splits: Mapping[str, Statistics]) -> Table:
    """Return a table of the classes with the most objects: the objects and the images of each."""
    first = next(iter(splits.values()))
    table = Table("class", title_justify="left", title="Objects (images) of each class")
    for name in splits:
        table.add_column(name, justify="right")
    order = np.argsort(-first.objects_per_class, kind="stable")
    for index in order[:NUM_CLASSES]:
        name = first.classes[index]
        table.add_row(name, *(_class_cell(split, name) for split in splits.values()))
    if len(order) > NUM_CLASSES:
        table.add_row(f"and {counted(len(order) - NUM_CLASSES, 'more class', 'more classes')}")
    return table


def _class_cell(split: Statistics, name: str) -> str:
    if name not in split.classes:
        return "-"
    index = split.classes.index(name)
    return f"{split.objects_per_class[index]:,} ({split.images_per_class[index]:,})"


def _spread(values: NDArray[Any]) -> str:
    """Return "minimum / median / maximum" of an array."""
    numbers = min_median_max(values)
    if numbers is None:
        return "-"
    return " / ".join(f"{number:,.1f}".removesuffix(".0") for number in numbers.values())


def _share(count: int, total: int) -> str:
    return f"{count:,} ({count / total:.0%})" if total else f"{count:,}"


def _size_class(name: str) -> Callable[[Statistics], str]:
    return lambda split: _share(split.objects_per_size_class[name], split.num_objects)


_ROWS: dict[str, Callable[[Statistics], str]] = {
    "images": lambda split: f"{split.num_images:,}",
    "  without objects": lambda split: _share(split.num_empty_images, split.num_images),
    "  width, px": lambda split: _spread(split.image_sizes[:, 0]),
    "  height, px": lambda split: _spread(split.image_sizes[:, 1]),
    "objects": lambda split: f"{split.num_objects:,}",
    "  with a mask": lambda split: _share(split.num_masks, split.num_objects),
    "  per image": lambda split: _spread(split.objects_per_image),
    "  square root of area, px": lambda split: _spread(np.sqrt(split.areas)),
    "  small: below 32 x 32 px": _size_class("small"),
    "  medium: below 96 x 96 px": _size_class("medium"),
    "  large": _size_class("large"),
    "  at the border of their image": lambda split: _share(split.num_at_border, split.num_objects),
    "crowd regions": lambda split: f"{split.num_crowds:,}",
    "classes": lambda split: f"{len(split.classes):,}",
    "  of them without objects": lambda split: f"{len(split.empty_classes):,}",
}
