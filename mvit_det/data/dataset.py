"""A data set: images with their objects, and the problems that were found while reading it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pycocotools.coco import COCO

from mvit_det.data.coco.annotations import Annotations, read_annotations
from mvit_det.data.coco.categories import read_categories, remove_project_category, unique_names
from mvit_det.data.coco.entry_checks import check_entries
from mvit_det.data.coco.image_entries import read_image_entries
from mvit_det.data.coco.image_folder import ImageFolder
from mvit_det.data.coco.index import category_names, index_coco
from mvit_det.data.coco.suspicious_entries import find_suspicious_entries
from mvit_det.data.json_files import paused_garbage_collection, read_json
from mvit_det.data.problems import Problem, ProblemCollector, stop_at
from mvit_det.errors import InputError

LISTS = ("images", "annotations", "categories")


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
        format: the format of the files, for display.
        split: the split of a folder, ``"train"``, ``"val"`` or ``"test"``; empty for a JSON file.
    """

    source: Path
    images: Path
    coco: COCO
    problems: tuple[Problem, ...] = ()
    format: str = "COCO"
    split: str = ""

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


def read_dataset(json: Path, images: Path | None, *, drop_invalid: bool = False) -> Dataset:
    """Read and check a COCO-format file.

    Args:
        json: the file.
        images: the folder that each ``file_name`` is relative to. None: do not look at the images; the
            ``images`` of the data set is then the folder of the file.
        drop_invalid: drop entries that cannot be used, and clip objects that reach over the edge of their
            image, instead of raising an error.

    Raises:
        InputError: if the file cannot be read, if an entry cannot be used and ``drop_invalid`` is false, or
            if nothing can be used.

    Source: the COCO data format, https://cocodataset.org/#format-data.
    """
    data = read_json(json, dict, f"an object with {', '.join(LISTS)}")
    return dataset_from(data, json, images, drop_invalid=drop_invalid)


def dataset_from(
    data: dict[str, Any],
    source: Path,
    images: Path | None,
    *,
    drop_invalid: bool = False,
    problems: Sequence[Problem] = (),
    split: str = "",
) -> Dataset:
    """Check the contents of a COCO-format file.

    Args:
        data: the contents, which this function modifies. An image or an annotation may have the key
            ``"_source"``, a string such as ``"labels/a.txt: line 3"`` that messages name instead of the
            entry: the path of a file, and the place in it.
        source: the file or the folder, for messages.
        images: the folder that each ``file_name`` is relative to; None: do not look at the images.
        drop_invalid: see :func:`read_dataset`.
        problems: problems that were found earlier, while converting another format.
        split: name of the split of a folder, for messages; empty for a file.

    Raises:
        InputError: see :func:`read_dataset`.
    """
    collector = ProblemCollector(source, problems)
    _check_lists(data, collector)
    folder = None if images is None else ImageFolder(images)
    with paused_garbage_collection():
        remove_project_category(data, collector)
        data["categories"], category_ids = read_categories(data["categories"], collector)
        entries, image_ids = read_image_entries(data["images"], folder, collector)
        annotations = read_annotations(
            data["annotations"], image_ids, category_ids, collector, unique_names(data["categories"])
        )
        entries, annotations = check_entries(entries, annotations, images, collector, clip=drop_invalid)
        find_suspicious_entries(annotations, data["categories"], collector, split)
        if not drop_invalid:
            stop_at(collector.problems, source)
        if not entries:
            raise InputError(f"{source}: none of its images can be used; {collector.first_drop()}")
        coco = _build_coco(data, entries, annotations)
    images = source.parent if images is None else images
    return Dataset(source, images, coco, tuple(collector.problems), split=split)


def _check_lists(data: dict[str, Any], collector: ProblemCollector) -> None:
    source = collector.source
    for name in LISTS:
        if not isinstance(data.get(name), list):
            problem = "is missing" if name not in data else "is not a list"
            raise InputError(f"{source}: {name}: {problem}; a COCO file has the lists {', '.join(LISTS)}")
    if not data["images"]:
        stop_at(collector.problems, source)  # a format has dropped them
        raise InputError(f"{source}: images: is empty; expected at least one entry")


def _build_coco(data: dict[str, Any], images: list[dict[str, Any]], annotations: Annotations) -> COCO:
    """Number the annotations, and return the index of the entries that can be used."""
    for image in images:
        image.pop("_source", None)
    for number, entry in enumerate(annotations.entries, start=1):
        entry["id"] = number
        entry.pop("_source", None)
    contents = {"info": {}, "licenses": []} | data
    return index_coco(contents | {"images": images, "annotations": annotations.entries})
