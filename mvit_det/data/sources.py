"""The data sets of a run, from a folder or from JSON files."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from mvit_det.data.coco.categories import match_categories
from mvit_det.data.coco.index import index_coco
from mvit_det.data.dataset import Dataset, read_dataset
from mvit_det.data.folders import open_folder, read_split
from mvit_det.errors import InputError, counted, printable

MAX_NAMES = 8  # of classes, in a summary
MAX_NAME_LENGTH = 40  # of a class, in a summary


def read_train_and_val(
    data: Path | None = None,
    json: Path | None = None,
    images: Path | None = None,
    val_json: Path | None = None,
    val_images: Path | None = None,
    *,
    drop_invalid: bool = False,
) -> tuple[Dataset, Dataset | None]:
    """Read the training set and, if there is one, the validation set.

    Args:
        data: a folder in one of the supported formats. Either ``data`` or ``json`` is given.
        json: the COCO-format file of the training set.
        images: the folder of its images.
        val_json: the COCO-format file of the validation set.
        val_images: the folder of its images; None: ``images``.
        drop_invalid: drop entries that cannot be used, and clip objects that reach over the edge of their
            image, instead of raising an error.

    Raises:
        InputError: if the data cannot be used, if the training set has no objects, or if the two sets have
            different categories.
    """
    if data is None:
        json, images = _check_paths(json, images, "images")
        if val_json is not None:
            _check_paths(val_json, val_images or images, "val_images")
        elif val_images is not None:
            raise InputError(f"val_images {val_images}: needs val_json")
        train = read_dataset(json, images, drop_invalid=drop_invalid)
        val = None
        if val_json is not None:
            val = read_dataset(val_json, val_images or images, drop_invalid=drop_invalid)
    else:
        _refuse_both(data, json, images, val_json, val_images)
        folder = open_folder(data)
        train = read_split(folder, "train", drop_invalid=drop_invalid)
        val = read_split(folder, "val", drop_invalid=drop_invalid) if "val" in folder.splits else None
    check_has_objects(train)
    if val is not None:
        check_same_categories(train, val)
        val = with_category_ids(val, train.categories)
    return train, val


def read_evaluation_set(
    data: Path | None = None,
    json: Path | None = None,
    images: Path | None = None,
    *,
    split: str = "val",
    drop_invalid: bool = False,
) -> Dataset:
    """Read the data set that a detector is evaluated on.

    Args:
        data: a folder in one of the supported formats. Either ``data`` or ``json`` is given.
        json: a COCO-format file.
        images: the folder of its images.
        split: the split of the folder. If a folder has no split ``"val"``, its split ``"test"`` is read.
        drop_invalid: drop entries that cannot be used, and clip objects that reach over the edge of their
            image, instead of raising an error.

    Raises:
        InputError: if the data cannot be used.
    """
    if data is None:
        json, images = _check_paths(json, images, "images")
        return read_dataset(json, images, drop_invalid=drop_invalid)
    _refuse_both(data, json, images)
    folder = open_folder(data)
    if split == "val" and "val" not in folder.splits and "test" in folder.splits:
        split = "test"
    return read_split(folder, split, drop_invalid=drop_invalid)


def describe(dataset: Dataset) -> str:
    """Return in one line what a data set contains: format, images, objects, classes, and masks or boxes."""
    names = list(dataset.categories.values())
    shown = _join(printable(name, MAX_NAME_LENGTH) for name in names)
    if dataset.has_masks:
        shapes = "masks"
    elif dataset.num_masks:
        shapes = f"boxes, and masks of {counted(dataset.num_masks, 'object')}"
    else:
        shapes = "boxes"
    counts = (
        f"{counted(len(dataset.coco.imgs), 'image')}, {counted(dataset.num_objects, 'object')}; "
        f"{counted(len(names), 'class', 'classes')} ({shown}); {shapes}"
    )
    return f"{dataset.format}{f', {dataset.split}' if dataset.split else ''}: {counts}"


def check_same_categories(train: Dataset, val: Dataset) -> None:
    """Check that two data sets have the same categories, whose ids may differ if each name is unique.

    Raises:
        InputError: lists the difference.
    """
    ours, theirs = train.categories, val.categories
    if match_categories(ours, theirs) is not None:
        return
    first, second = _title(train), _title(val)
    missing, extra = _difference(ours, theirs), _difference(theirs, ours)
    if missing or extra:
        parts = [f"{second} lacks {missing}"] if missing else []
        parts += [f"{first} lacks {extra}"] if extra else []
        difference = "; ".join(parts)
    else:
        id_ = next(id_ for id_ in sorted({*ours, *theirs}) if ours.get(id_) != theirs.get(id_))
        one, other = (names.get(id_, "missing") for names in (ours, theirs))
        difference = f"the id {id_} is {one!r} in one and {other!r} in the other"
    raise InputError(f"{first} and {second} have different categories: {difference}; expected the same list")


def with_category_ids(dataset: Dataset, categories: Mapping[int, str]) -> Dataset:
    """Return a data set with the category ids of another one that has categories of the same names."""
    if dataset.categories == categories:
        return dataset
    ids = match_categories(dataset.categories, categories)
    assert ids is not None, f"{dataset.categories} differ from {categories}"
    data = dataset.coco.dataset
    entries = [entry | {"category_id": ids[entry["category_id"]]} for entry in data["annotations"]]
    listed = sorted(
        (entry | {"id": ids[entry["id"]]} for entry in data["categories"]), key=lambda entry: entry["id"]
    )
    return replace(dataset, coco=index_coco(data | {"annotations": entries, "categories": listed}))


def check_has_objects(train: Dataset) -> None:
    """Check that a training set has an object that is not a crowd.

    Raises:
        InputError: if it has none.
    """
    if train.num_objects == 0:
        crowds = (
            "its only annotation is a crowd" if len(train.coco.anns) == 1 else "all annotations are crowds"
        )
        if train.format == "Pascal VOC":  # difficult objects are read as crowds
            crowds = "all of its objects are marked as difficult"
        reason = crowds if train.coco.anns else "it has no annotations"
        first = next((problem for problem in train.problems if problem.effect == "drop"), None)
        dropped = f"; the first entry that was dropped is {first}" if first else ""
        raise InputError(f"{_title(train)}: has no object to train on: {reason}{dropped}")


def _check_paths(json: Path | None, images: Path | None, name: str) -> tuple[Path, Path]:
    """Return a JSON file and the folder of its images. ``name`` is the argument that gives the folder."""
    if json is None:
        raise InputError(
            "there is no data: expected a folder (data), or a COCO-format JSON file and its images"
        )
    if json.is_dir():
        swapped = images is not None and images.suffix.lower() == ".json"
        hint = f"it and {images} are swapped" if swapped else "give a folder as data"
        raise InputError(f"{json}: is a folder; expected a COCO-format JSON file; {hint}")
    if images is None:
        raise InputError(f"{json}: {name} is missing; expected the folder of its images")
    if images.is_file():
        raise InputError(f"{images}: is a file; expected the folder of the images of {json}")
    return json, images


def _refuse_both(data: Path, *others: Path | None) -> None:
    for other in others:
        if other is not None:
            raise InputError(f"{data} and {other}: expected either a folder, or JSON files and their images")


def _title(dataset: Dataset) -> str:
    return f"{dataset.source} ({dataset.split})" if dataset.split else str(dataset.source)


def _difference(names: Mapping[int, str], others: Mapping[int, str]) -> str:
    """Return the names that are not among the others, for a message; empty if there are none."""
    missing = sorted({*names.values()} - {*others.values()})
    return _join(repr(printable(name, MAX_NAME_LENGTH)) for name in missing)


def _join(names: Iterable[str]) -> str:
    first = list(itertools.islice(names, MAX_NAMES + 1))
    return ", ".join(first[:MAX_NAMES]) + (", ..." if len(first) > MAX_NAMES else "")
