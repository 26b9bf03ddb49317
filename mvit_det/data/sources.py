"""The data sets of a run, from a folder or from JSON files."""

from pathlib import Path

from mvit_det.data.dataset import Dataset, read_dataset
from mvit_det.errors import InputError


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
        drop_invalid: drop entries that cannot be used, instead of raising an error.

    Raises:
        InputError: if the data cannot be used.
    """
    if json is None or images is None:
        raise InputError(f"{data}: folders are not supported yet")
    train = read_dataset(json, images, drop_invalid=drop_invalid)
    if val_json is None:
        return train, None
    return train, read_dataset(val_json, val_images or images, drop_invalid=drop_invalid)


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
        drop_invalid: drop entries that cannot be used, instead of raising an error.

    Raises:
        InputError: if the data cannot be used.
    """
    if json is None or images is None:
        raise InputError(f"{data}: folders are not supported yet")
    return read_dataset(json, images, drop_invalid=drop_invalid)


def describe(dataset: Dataset) -> str:
    """Return a summary of a data set in one line."""
    names = ", ".join(dataset.categories.values())
    num_classes = len(dataset.categories)
    return (
        f"{len(dataset.coco.imgs):,} images, {dataset.num_objects:,} objects; {num_classes} "
        f"{'class' if num_classes == 1 else 'classes'} ({names}); {'masks' if dataset.has_masks else 'boxes'}"
    )
