"""Data sets in Detectron2's catalog."""

from functools import partial
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from mvit_det.data.coco.categories import printable_name
from mvit_det.data.dataset import Dataset
from mvit_det.detectron2.data.train_loader import Sample
from mvit_det.errors import InputError, unknown_name


def register(name: str, dataset: Dataset, **metadata: Any) -> None:
    """Register a data set with Detectron2, unless the name is registered already.

    Args:
        name: the name in Detectron2's catalogs.
        dataset: the data set. :func:`registered_dataset` returns it.
        metadata: further metadata; ``evaluator_type`` is ``"coco"`` by default.
    """
    if name in DatasetCatalog:
        return
    DatasetCatalog.register(name, partial(_samples, dataset))
    if dataset.source.is_file():
        metadata.setdefault("json_file", str(dataset.source))
    MetadataCatalog.get(name).set(
        image_root=str(dataset.images),
        thing_classes=list(dataset.categories.values()),
        thing_dataset_id_to_contiguous_id={id_: label for label, id_ in enumerate(dataset.categories)},
        dataset=dataset,
        **{"evaluator_type": "coco"} | metadata,
    )


def unregister(name: str) -> None:
    """Remove a data set from Detectron2's catalogs."""
    DatasetCatalog.pop(name)
    MetadataCatalog.pop(name)


def registered_dataset(name: str) -> Dataset:
    """Return a data set that :func:`register` has registered."""
    dataset: Dataset = MetadataCatalog.get(name).dataset
    return dataset


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
    return {
        category_id: printable_name(str(names[labels[category_id]]))
        for category_id in sorted(labels, key=labels.__getitem__)
    }


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
                "contains coco/ and lvis/, or use the config finetune_mask_rcnn_mvitv2_t for your own data"
            )


def _samples(dataset: Dataset) -> list[Sample]:
    """Return one dict per image in Detectron2's format.

    Boxes are XYWH in pixels; masks are polygons or compressed RLE, and absent for an object without a mask.
    """
    label_of = {id_: label for label, id_ in enumerate(dataset.categories)}

    def to_object(entry: dict[str, Any]) -> dict[str, Any]:
        sample = {
            "bbox": entry["bbox"],
            "bbox_mode": BoxMode.XYWH_ABS,
            "category_id": label_of[entry["category_id"]],
            "iscrowd": entry["iscrowd"],
        }
        mask = entry.get("segmentation")
        if mask:
            sample["segmentation"] = mask if isinstance(mask, list) else dataset.coco.annToRLE(entry)
        return sample

    return [
        {
            "file_name": str(dataset.images / image["file_name"]),
            "image_id": image_id,
            "height": image["height"],
            "width": image["width"],
            "annotations": [to_object(entry) for entry in dataset.coco.imgToAnns[image_id]],
        }
        for image_id, image in sorted(dataset.coco.imgs.items())
    ]
