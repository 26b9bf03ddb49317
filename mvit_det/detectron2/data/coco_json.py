"""COCO-format data sets in Detectron2, identified by the paths of their JSON file and image folder."""

from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import COCOEvaluator
from detectron2.structures import BoxMode
from rich.console import Console

from mvit_det.data.annotations import category_names, read_coco
from mvit_det.data.json_files import write_json
from mvit_det.detectron2.data.train_loader import Sample
from mvit_det.errors import InputError, unknown_name
from mvit_det.report.console import check_images_with_progress


@dataclass(frozen=True)
class _Summary:
    """The properties of a COCO-format file that configs and checks need.

    Attributes:
        categories: id -> name.
        num_training_images: images with at least one object that is not a crowd.
        has_rle_masks: whether an object that is not a crowd has a run-length encoded mask.
    """

    categories: dict[int, str]
    num_training_images: int
    has_rle_masks: bool


@lru_cache
def _summarize(json: str) -> _Summary:
    coco = read_coco(Path(json))
    objects = [entry for entry in coco.anns.values() if not entry.get("iscrowd")]
    return _Summary(
        categories=category_names(coco),
        num_training_images=len({entry["image_id"] for entry in objects}),
        has_rle_masks=any(isinstance(entry["segmentation"], dict) for entry in objects),
    )


def register_json(json: str, images: str, like: str | None = None) -> str:
    """Register a COCO-format data set with Detectron2 and return its name there.

    A second call with the same paths returns the same name.

    Args:
        json: path of the JSON file.
        images: folder that the file's ``file_name`` entries are relative to.
        like: path of a JSON file that must have the same categories.

    Raises:
        InputError: if the file is not valid (see :func:`mvit_det.data.annotations.read_coco`), the folder
            does not exist, or the categories differ from those of ``like``.
    """
    summary = _summarize(json)
    if not Path(images).is_dir():
        raise InputError(f"{images}: no such folder of images")
    if like is not None and summary.categories != json_categories(like):
        raise InputError(f"{json}: its categories differ from those of {like}")
    name = f"{json}:{images}"
    if name in DatasetCatalog:
        return name
    DatasetCatalog.register(name, partial(_read_samples, json, images))
    MetadataCatalog.get(name).set(
        json_file=json,
        image_root=images,
        evaluator_type="coco",
        thing_classes=list(summary.categories.values()),
        thing_dataset_id_to_contiguous_id={id_: label for label, id_ in enumerate(summary.categories)},
    )
    return name


def _read_samples(json: str, images: str) -> list[Sample]:
    """Return one dict per image in Detectron2's format.

    Boxes are XYWH in pixels; masks are polygons or compressed RLE.
    """
    coco = read_coco(Path(json))
    label_of = {id_: label for label, id_ in enumerate(category_names(coco))}

    def to_object(entry: dict[str, Any]) -> dict[str, Any]:
        mask = entry["segmentation"]
        return {
            "bbox": entry["bbox"],
            "bbox_mode": BoxMode.XYWH_ABS,
            "category_id": label_of[entry["category_id"]],
            "segmentation": mask if isinstance(mask, list) else coco.annToRLE(entry),
            "iscrowd": entry.get("iscrowd", 0),
        }

    return [
        {
            "file_name": str(Path(images, image["file_name"])),
            "image_id": image_id,
            "height": image["height"],
            "width": image["width"],
            "annotations": [to_object(entry) for entry in coco.imgToAnns[image_id]],
        }
        for image_id, image in sorted(coco.imgs.items())
    ]


def json_categories(json: str) -> dict[int, str]:
    """Return category id -> name of a COCO-format file, in the order of a detector's classes."""
    return _summarize(json).categories


def registered_categories(name: str) -> dict[int, str]:
    """Return category id -> name of a registered data set, in the order of a detector's classes.

    Raises:
        InputError: if the data set is not registered or has no classes.
    """
    metadata = MetadataCatalog.get(name)
    if name not in DatasetCatalog or not metadata.get("thing_classes"):
        check_dataset(name)
        DatasetCatalog.get(name)  # some data sets set their classes only when they are read
    names = metadata.get("thing_classes")
    if not names:
        raise InputError(f"data set {name}: its metadata has no thing_classes")
    labels = metadata.get("thing_dataset_id_to_contiguous_id") or {n + 1: n for n in range(len(names))}
    return {category_id: names[labels[category_id]] for category_id in sorted(labels, key=labels.__getitem__)}


def count_classes(json: str) -> int:
    """Return the number of categories in a COCO-format file."""
    return len(json_categories(json))


def count_steps(json: str, epochs: int, batch_size: int) -> int:
    """Return the number of steps in ``epochs`` passes over the images that have an object, rounded up.

    Raises:
        InputError: if no image has an object.
    """
    num_images = _summarize(json).num_training_images
    if not num_images:
        raise InputError(f"{json}: no image has an object to train on")
    return -(-num_images * epochs // batch_size)


def mask_format(json: str) -> str:
    """Return the ``instance_mask_format`` of Detectron2's mapper for a file: RLE masks need ``"bitmask"``."""
    return "bitmask" if _summarize(json).has_rle_masks else "polygon"


class JsonEvaluator(COCOEvaluator):
    """A ``COCOEvaluator`` for files whose annotations lack areas, crowd flags or ids, or have the id 0."""

    def __init__(self, dataset_name: str, **kwargs: Any) -> None:
        metadata = MetadataCatalog.get(dataset_name).as_dict()
        with TemporaryDirectory() as folder:
            completed = str(Path(folder, "completed.json"))  # read_coco adds the missing fields
            write_json(Path(completed), read_coco(Path(metadata["json_file"])).dataset)
            MetadataCatalog.get(completed).set(**metadata | {"name": completed, "json_file": completed})
            super().__init__(completed, **kwargs)
            MetadataCatalog.pop(completed)


def check_dataset(name: str) -> None:
    """Check that a data set is registered with Detectron2 and that its files exist.

    Raises:
        InputError: if the data set is not registered, or if a file or folder is missing.
    """
    if name not in DatasetCatalog:
        raise unknown_name("data set", name, DatasetCatalog)
    metadata = MetadataCatalog.get(name)
    for path in (metadata.get("json_file"), metadata.get("image_root")):
        if path and not Path(path).exists():
            raise InputError(
                f"data set {name}: {path} does not exist; set DETECTRON2_DATASETS to the folder that "
                "contains coco/, or use the config finetune_mask_rcnn_mvitv2_t for your own data"
            )


def check_image_files(json: str, images: str) -> None:
    """Read every image of a COCO-format file once, and show a progress bar on a terminal.

    Raises:
        InputError: if an image is missing, is damaged, or does not have the size that the file states.
    """
    check_images_with_progress(read_coco(Path(json)), Path(images), Console(stderr=True, markup=False))
