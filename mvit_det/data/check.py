"""The check of a whole data set, which finds all problems at once."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from mvit_det.data.copies import find_copies
from mvit_det.data.dataset import Dataset, read_dataset
from mvit_det.data.folders import open_folder, read_split
from mvit_det.data.formats.coco_images import find_image_folder
from mvit_det.data.formats.layout import split_of, walk
from mvit_det.data.image_cache import Track
from mvit_det.data.image_checks import check_images
from mvit_det.data.problems import Problem, UnusableError
from mvit_det.data.resized_sizes import find_unusual_sizes
from mvit_det.data.sources import check_has_objects, check_same_categories
from mvit_det.data.statistics import Statistics, compute_statistics
from mvit_det.errors import InputError
from mvit_det.recipes import RECIPES

# Yields the items of an iterable of the given length, and shows progress with a description.
DescribedTrack = Callable[[Iterable[Any], int, str], Iterable[Any]]


@dataclass(frozen=True)
class CheckedData:
    """The result of :func:`check_data`.

    Attributes:
        path: the folder or the JSON file.
        format: name of the format, such as ``"YOLO"``.
        splits: name of each split -> what can be used of it.
        errors: what prevents a run with the data as a whole, such as splits with different categories.
        problems: all problems of all splits.
    """

    path: Path
    format: str
    splits: Mapping[str, Dataset]
    errors: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def is_usable(self) -> bool:
        """Whether a run can use the data as they are: there is no error, and no entry must be dropped."""
        return not self.errors and all(problem.effect != "drop" for problem in self.problems)

    @cached_property
    def statistics(self) -> dict[str, Statistics]:
        """Name of each split -> statistics of what can be used."""
        return {name: compute_statistics(dataset.coco) for name, dataset in self.splits.items()}


def check_data(
    path: Path,
    images: Path | None = None,
    *,
    read_images: bool = False,
    track: DescribedTrack = lambda items, total, description: items,
) -> CheckedData:
    """Read a data set, and collect all of its problems and its statistics.

    The sizes of the images are compared with those of the recipes.

    Args:
        path: a folder in one of the supported formats, or a COCO-format JSON file.
        images: the folder of the images of a JSON file; None: search for it in the folder of the file.
        read_images: also read every image, which takes long, and compare the contents of the image files.
        track: function from an iterable, its length and a description to the same items; shows progress.

    Raises:
        InputError: if ``path`` does not exist, or is neither a folder of a known format nor a JSON file.
    """
    format_, readers, problems = _open(path, images)
    splits: dict[str, Dataset] = {}
    errors: list[str] = []
    for name, read in readers.items():
        with _collect(errors, problems):
            dataset = replace(read(), format=format_, split=name)
            if read_images:
                reading = _with_description(track, f"reading the images of {name}")
                dataset = check_images(dataset, reading, drop_invalid=True)
            splits[name] = dataset
    for dataset in splits.values():
        with _collect(errors):
            check_same_categories(next(iter(splits.values())), dataset)
    if "train" in splits:
        with _collect(errors):
            check_has_objects(splits["train"])
    copies = find_copies(splits, _with_description(track, "comparing image files"), compare_all=read_images)
    limits = [(recipe.short_side, recipe.long_side) for recipe in RECIPES.values()]
    for dataset in splits.values():
        problems.extend(dataset.problems)
        problems.extend(find_unusual_sizes(dataset, limits))
    return CheckedData(path, format_, splits, tuple(errors), tuple(dict.fromkeys((*problems, *copies))))


def _open(path: Path, images: Path | None) -> tuple[str, dict[str, Callable[[], Dataset]], list[Problem]]:
    """Return the name of the format, name of each split -> a function that reads it, and first problems."""
    if path.suffix.lower() != ".json" or path.is_dir():
        if images is not None:
            raise InputError(f"{path}: is a folder; name the folder of images only with a JSON file")
        data = open_folder(path)
        names = list(data.splits)
        return data.format, {name: partial(read_split, data, name, drop_invalid=True) for name in names}, []
    if not path.exists():
        raise InputError(f"{path}: no such file; expected a COCO-format JSON")
    split = split_of(path.stem) or "train"
    problems = []
    if images is None:
        try:
            images = find_image_folder(path, split, path.parent, list(walk(path.parent)))
        except InputError as error:
            problems = [Problem("images_not_found", path, "images", f"{error}; only the file was checked")]
    return "COCO", {split: partial(read_dataset, path, images, drop_invalid=True)}, problems


@contextmanager
def _collect(errors: list[str], problems: list[Problem] | None = None) -> Iterator[None]:
    """Append the message of an :class:`InputError` to ``errors`` instead of raising it.

    The problems of a data set of which nothing can be used are appended to ``problems``.
    """
    try:
        yield
    except InputError as error:
        if isinstance(error, UnusableError) and problems is not None:
            problems.extend(error.problems)
        errors.append(str(error))


def _with_description(track: DescribedTrack, description: str) -> Track:
    return lambda items, total: track(items, total, description)
