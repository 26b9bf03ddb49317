"""A data set: images with their objects, and the problems that were found while reading it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pycocotools.coco import COCO

from mvit_det.data import images as image_files
from mvit_det.data.annotations import category_names, check_coco, index_coco
from mvit_det.data.json_files import read_json
from mvit_det.data.problems import Problem


@dataclass(frozen=True)
class Dataset:
    """Images with their objects, in COCO's format.

    Every annotation has ``id`` (1, 2, ...), ``image_id``, ``category_id``, ``bbox`` ([x, y, width, height] in
    pixels), ``area`` and ``iscrowd``. ``segmentation`` is polygons or RLE, and absent for an object without a
    mask.

    Attributes:
        source: the JSON file, or the folder and the name of the split, for messages.
        images: the folder that each ``file_name`` is relative to.
        coco: pycocotools' index of the entries that can be used.
        problems: what was found while reading.
    """

    source: Path
    images: Path
    coco: COCO
    problems: tuple[Problem, ...] = ()

    @cached_property
    def categories(self) -> dict[int, str]:
        """Category id -> name, sorted by id."""
        return category_names(self.coco)

    @cached_property
    def num_objects(self) -> int:
        """The number of annotations that are not crowds."""
        return sum(not entry["iscrowd"] for entry in self.coco.anns.values())

    @cached_property
    def num_masks(self) -> int:
        """The number of objects that have a mask."""
        return sum(
            not entry["iscrowd"] and bool(entry.get("segmentation")) for entry in self.coco.anns.values()
        )

    @property
    def has_masks(self) -> bool:
        """Whether there are objects, and every object has a mask."""
        return 0 < self.num_objects == self.num_masks


def read_dataset(json: Path, images: Path, *, drop_invalid: bool = False) -> Dataset:
    """Read and check a COCO-format file.

    Args:
        json: the file.
        images: the folder that each ``file_name`` is relative to.
        drop_invalid: drop entries that cannot be used, and clip objects that reach over the edge of their
            image, instead of raising an error.

    Raises:
        InputError: if the file cannot be read, or if an entry cannot be used and ``drop_invalid`` is false.

    Source: the COCO data format, https://cocodataset.org/#format-data.
    """
    data = read_json(json, dict, "an object with images, annotations and categories")
    return dataset_from(data, json, images, drop_invalid=drop_invalid)


def dataset_from(
    data: dict[str, Any],
    source: Path,
    images: Path,
    *,
    drop_invalid: bool = False,
    problems: Sequence[Problem] = (),
) -> Dataset:
    """Check the contents of a COCO-format file.

    Args:
        data: the contents, which this function modifies. An image or an annotation may have the key
            ``"_source"``, a string such as ``"labels/a.txt: line 3"`` that messages name instead of the entry.
        source: the file or the folder, for messages.
        images: the folder that each ``file_name`` is relative to.
        drop_invalid: see :func:`read_dataset`.
        problems: problems that were found earlier, while converting another format.

    Raises:
        InputError: if an entry cannot be used and ``drop_invalid`` is false, or if nothing can be used.
    """
    for name in ("images", "annotations"):
        for entry in data[name]:
            entry.pop("_source", None)
    check_coco(data, source)
    return Dataset(source, images, index_coco(data), tuple(problems))


def check_images(
    dataset: Dataset,
    track: Callable[[Iterable[Any], int], Iterable[Any]],
    *,
    drop_invalid: bool = False,
) -> Dataset:
    """Read every image of a data set once.

    Args:
        dataset: the data set.
        track: function from an iterable and its length to the same items, which shows progress.
        drop_invalid: drop images that cannot be used, with their annotations, instead of raising an error.

    Returns:
        The data set of the images that can be used.

    Raises:
        InputError: if an image is missing or damaged or has another size than stated, and ``drop_invalid`` is
            false.
    """
    image_files.check_images(dataset.coco, dataset.images, track)
    return dataset
