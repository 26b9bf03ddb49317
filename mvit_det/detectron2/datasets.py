"""Any data set in COCO's format inside Detectron2, by the paths of its JSON and of its pictures."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.evaluation import COCOEvaluator
from pycocotools.coco import COCO

from mvit_det.coco.annotations import category_names, read_coco
from mvit_det.errors import InputError, unknown_name


def register_json(json: str, images: str, like: str | None = None) -> str:
    """Register a COCO-format data set with Detectron2, unless it is, and return the name it has there.

    Args:
        json: path of the file.
        images: folder where its ``file_name`` start.
        like: path of another file, which must have the same categories.

    Raises:
        InputError: if the file cannot be used as it is (see :func:`mvit_det.coco.annotations.read_coco`),
            the folder or a picture is missing, or the categories are others.
    """
    categories = category_names(_read(json))
    if not Path(images).is_dir():
        raise InputError(f"{images}: no such folder of pictures")
    for entry in _read(json).imgs.values():
        if not Path(images, entry["file_name"]).is_file():
            raise InputError(f"{Path(images, entry['file_name'])}: no such picture, but {json} names it")
    if like is not None and categories != category_names(_read(like)):
        raise InputError(f"{json}: its categories are not those of {like}")
    name = f"{json}:{images}"
    if name not in DatasetCatalog:
        register_coco_instances(name, {}, json, images)
    return name


def json_categories(json: str) -> dict[int, str]:
    """Return category id -> name of a COCO-format file, in the order of a detector's classes."""
    return category_names(_read(json))


def registered_categories(name: str) -> dict[int, str]:
    """Return category id -> name of a data set known to Detectron2, in the order of a detector's classes.

    Raises:
        InputError: if it is not known, or has no classes.
    """
    metadata = MetadataCatalog.get(name)
    if name not in DatasetCatalog or not metadata.get("thing_classes"):  # some have them once they are read
        check_dataset(name)
        DatasetCatalog.get(name)
    names = metadata.get("thing_classes")
    if not names:
        raise InputError(f"data set {name}: its metadata names no thing_classes")
    labels = metadata.get("thing_dataset_id_to_contiguous_id") or {n + 1: n for n in range(len(names))}
    return {category_id: names[labels[category_id]] for category_id in sorted(labels, key=labels.__getitem__)}


def count_classes(json: str) -> int:
    """Return the number of categories in a COCO-format file."""
    return len(json_categories(json))


def count_steps(json: str, epochs: int, batch_size: int) -> int:
    """Return the steps in ``epochs`` of the pictures that have an object, rounded up."""
    pictures = {entry["image_id"] for entry in _read(json).anns.values() if not entry.get("iscrowd")}
    return -(-len(pictures) * epochs // batch_size)


def mask_format(json: str) -> str:
    """Return what Detectron2's mapper can hold the masks of a file in: run-lengths need bitmaps."""
    objects = (entry for entry in _read(json).anns.values() if not entry.get("iscrowd"))
    has_runs = any(isinstance(entry["segmentation"], dict) for entry in objects)
    return "bitmask" if has_runs else "polygon"


class JsonEvaluator(COCOEvaluator):
    """``COCOEvaluator`` for files without areas or crowd marks, and with any ids of annotations."""

    def __init__(self, dataset_name: str, **kwargs: Any) -> None:
        super().__init__(dataset_name, **kwargs)
        self._coco_api = _read(MetadataCatalog.get(dataset_name).json_file)


def check_dataset(name: str) -> None:
    """Check that a data set is known to Detectron2, and that its files are there.

    Raises:
        InputError: naming the data set, or its first file that is missing.
    """
    if name not in DatasetCatalog:
        raise unknown_name("data set", name, DatasetCatalog)
    metadata = MetadataCatalog.get(name)
    for path in (metadata.get("json_file"), metadata.get("image_root")):
        if path and not Path(path).exists():
            raise InputError(
                f"data set {name}: no {path}; set DETECTRON2_DATASETS to the folder that holds coco/, or "
                "take configs/finetune_mask_rcnn_mvitv2_t.py for a data set of your own"
            )


@lru_cache(maxsize=4)
def _read(json: str) -> COCO:
    return read_coco(Path(json))
