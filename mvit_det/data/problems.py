"""The problems that are found in a data set, and what happens to the entries that have them."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mvit_det.errors import InputError, printable

EFFECTS = ("drop", "clip", "repair", "warn")


@dataclass(frozen=True)
class Kind:
    """A kind of problem.

    Attributes:
        title: plural noun phrase for reports.
        effect: what happens to an entry with the problem. ``"drop"``: it cannot be used and stops the run,
            unless it may be dropped. ``"clip"``: it reaches over the edge of its image; it is used as it is,
            or clipped where entries may be dropped. ``"repair"``: it is read without loss. ``"warn"``: it is
            used unchanged.
        remedy: what the user can do, in one sentence.
    """

    title: str
    effect: str
    remedy: str

    def __post_init__(self) -> None:
        assert self.effect in EFFECTS, f"unknown effect {self.effect!r}"


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem in a file of a data set.

    Attributes:
        kind: key of :data:`KINDS`.
        file: the annotation file, the label file or the image.
        field: the field in the file, such as ``annotations[3].bbox`` or ``line 4``; empty for the whole file.
        message: what is wrong and what is expected.
    """

    kind: str
    file: Path
    field: str
    message: str

    def __str__(self) -> str:
        return printable(": ".join(filter(None, (str(self.file), self.field, self.message))))

    @property
    def effect(self) -> str:
        """The effect of its kind."""
        return KINDS[self.kind].effect


KINDS = {
    # Entries that cannot be used.
    "bad_entry": Kind("entries without a usable value", "drop", "Write the expected value."),
    "bad_label": Kind("labels that cannot be read", "drop", "Write the label as its format requires."),
    "repeated_id": Kind("repeated ids", "drop", "Give each entry its own id."),
    "unknown_image": Kind(
        "annotations of images that are not listed", "drop", "List the image, or remove the annotation."
    ),
    "unknown_category": Kind(
        "annotations of unknown categories", "drop", "List the category, or correct the annotation."
    ),
    "bad_box": Kind(
        "boxes that are not four finite numbers", "drop", "Write [x, y, width, height] in pixels."
    ),
    "empty_box": Kind("boxes without area", "drop", "Draw the box again, or remove the annotation."),
    "box_outside": Kind("boxes outside their image", "drop", "Check which image the box was drawn on."),
    "bad_mask": Kind(
        "masks that cannot be read", "drop", "Write polygons [x, y, x, y, ...] in pixels, or RLE."
    ),
    "mask_outside": Kind("masks outside their image", "drop", "Check which image the mask was drawn on."),
    "long_outline": Kind("polygons with an excessively long outline", "drop", "Simplify the polygon."),
    "image_outside": Kind(
        "images outside the image folder", "drop", "Write file names relative to the image folder."
    ),
    "missing_image": Kind(
        "missing images", "drop", "Add the image, or name the folder that the file names are relative to."
    ),
    "damaged_image": Kind("images that cannot be read", "drop", "Save the image again from its original."),
    "wrong_size": Kind(
        "images of another size than stated", "drop", "Write the image's own width and height."
    ),
    # Objects that reach over the edge of their image.
    "box_over_edge": Kind("boxes that reach over the edge", "clip", "Clip the box to its image."),
    "mask_over_edge": Kind("masks that reach over the edge", "clip", "Clip the mask to its image."),
    # What is read without loss.
    "ids": Kind("ids that are not whole numbers", "repair", "Nothing: the entries are numbered again."),
    "category_name": Kind(
        "categories without a name", "repair", "Nothing: the id is the name. Write a name to see it instead."
    ),
    "category_by_name": Kind(
        "categories given by name", "repair", "Nothing: the category of that name is used."
    ),
    "repeated_category": Kind("categories listed twice", "repair", "Nothing: they count once."),
    "repeated_image": Kind("images listed twice", "repair", "Nothing: their annotations are put together."),
    "file_name": Kind("file names of another form", "repair", "Nothing: the image has been found."),
    "size": Kind(
        "images whose size was taken from the file", "repair", "Nothing: the image's own size is used."
    ),
    "frame": Kind(
        "annotations of a rotated or resized image",
        "repair",
        "Nothing: the annotations are transformed to the upright image.",
    ),
    "numbers": Kind("numbers of another form", "repair", "Nothing: the numbers are read."),
    "missing_box": Kind("missing boxes", "repair", "Nothing: the box is that of the mask."),
    "area": Kind("impossible areas", "repair", "Nothing: the area is computed again."),
    "mask_form": Kind("masks of another form", "repair", "Nothing: the mask is read."),
    "mask_part": Kind(
        "polygons of fewer than 3 points beside others", "repair", "Nothing: they are left out."
    ),
    "placeholder_category": Kind(
        "categories that stand for a project", "repair", "Nothing: they are left out."
    ),
    # What is used unchanged.
    "repeated_annotation": Kind("identical annotations", "warn", "Remove all but one of them."),
    "repeated_name": Kind("categories of the same name", "warn", "Merge them, or rename one."),
    "unused_category": Kind(
        "categories without objects", "warn", "Remove the category, unless other splits have objects of it."
    ),
    "images_not_found": Kind(
        "files without images", "warn", "Name the folder of the images, or put it beside the file."
    ),
    "shared_image": Kind(
        "images in two splits", "warn", "Keep the image in one split; scores on seen images are too high."
    ),
    "copied_image": Kind("images with the same contents as another", "warn", "Keep one of them."),
    "tiny_box": Kind("boxes of less than one pixel", "warn", "Check that the box is in pixels."),
    "mask_beside_box": Kind(
        "masks that do not match their box", "warn", "Check that both belong to the same object."
    ),
    "flat_mask": Kind("masks without area", "warn", "Draw the mask again, or remove it."),
    "missing_label_file": Kind(
        "images without a label file", "warn", "Add an empty file if the image shows no object."
    ),
    "image_without_xml": Kind(
        "images without an XML file", "warn", "Write an XML file without objects if the image shows none."
    ),
    "unused_label_file": Kind("label files without an image", "warn", "Add the image, or remove the file."),
    "thin_box": Kind("boxes whose edges are the same pixel", "warn", "Check that the box was not a click."),
}


class Findings:
    """Collects the problems of one data set while it is read.

    Args:
        source: the file or the folder, for messages.
        problems: problems that were found earlier.
    """

    def __init__(self, source: Path, problems: Iterable[Problem] = ()) -> None:
        self.source = source
        self.problems = list(problems)
        self._folder = source if source.is_dir() else source.parent

    def add(
        self, kind: str, name: str, index: int, entry: Any, message: str, field: str | None = None
    ) -> None:
        """Add a problem of the entry ``index`` of the list ``name``.

        An entry that was converted from another format names its own file and line in ``"_source"``; the path
        is relative to the folder of the data set.
        """
        origin = entry.get("_source") if isinstance(entry, dict) else None
        if origin is not None:
            file, separator, line = origin.rpartition(": ")
            if not separator:
                file, line = origin, ""
            self.problems.append(Problem(kind, self._folder / file, line, message))
        else:
            where = f"{name}[{index}]" + (f".{field}" if field else "")
            self.problems.append(Problem(kind, self.source, where, message))

    def add_list(self, kind: str, name: str, field: str, message: str) -> None:
        """Add a problem that concerns a field of all entries of the list ``name``."""
        self.problems.append(Problem(kind, self.source, f"{name}[*].{field}", message))

    def add_file(self, kind: str, file: Path, message: str) -> None:
        """Add a problem of a whole file."""
        self.problems.append(Problem(kind, file, "", message))

    def first_drop(self) -> Problem:
        """Return the first problem of the effect ``"drop"``."""
        return next(problem for problem in self.problems if problem.effect == "drop")


def group(problems: Iterable[Problem]) -> dict[str, list[Problem]]:
    """Return kind -> problems, in the order of :data:`KINDS`."""
    groups: dict[str, list[Problem]] = {kind: [] for kind in KINDS}
    for problem in problems:
        groups[problem.kind].append(problem)
    return {kind: members for kind, members in groups.items() if members}


def stop_at(problems: Iterable[Problem], path: Path) -> None:
    """Raise an error if there are problems of the effect ``"drop"``.

    Args:
        problems: the problems of a data set.
        path: the data set, for the message.

    Raises:
        InputError: names the first such problem and the number of all.
    """
    stopping = [problem for problem in problems if problem.effect == "drop"]
    if not stopping:
        return
    message = str(stopping[0])
    num_more, num_kinds = len(stopping) - 1, len(group(stopping))
    if num_more:
        kinds = "of the same kind" if num_kinds == 1 else f"({num_kinds} kinds in all)"
        problem = "problem" if num_more == 1 else "problems"
        command = f"mvit-det check {shlex.quote(str(path))}"
        message += f"; and {num_more:,} more {problem} {kinds}; `{command}` lists them all"
    raise InputError(message)
