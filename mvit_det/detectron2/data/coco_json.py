"""Any data set in COCO's format inside Detectron2, by the paths of its JSON and of its pictures."""

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
from mvit_det.data.images import check_images
from mvit_det.data.results import write_json
from mvit_det.detectron2.data.train_loader import Sample
from mvit_det.errors import InputError, unknown_name
from mvit_det.report.console import track


@dataclass(frozen=True)
class _Summary:
    categories: dict[int, str]
    num_pictures: int  # with an object that is no crowd
    has_runs: bool  # among the masks of such objects


@lru_cache
def _summarize(json: str) -> _Summary:
    coco = read_coco(Path(json))
    objects = [entry for entry in coco.anns.values() if not entry.get("iscrowd")]
    return _Summary(
        categories=category_names(coco),
        num_pictures=len({entry["image_id"] for entry in objects}),
        has_runs=any(isinstance(entry["segmentation"], dict) for entry in objects),
    )


def register_json(json: str, images: str, like: str | None = None) -> str:
    """Register a COCO-format data set with Detectron2, unless it is, and return the name it has there.

    Args:
        json: path of the file.
        images: folder where its ``file_name`` start.
        like: path of another file, which must have the same categories.

    Raises:
        InputError: if the file cannot be used as it is (see :func:`mvit_det.data.annotations.read_coco`),
            the folder is missing, or the categories are others.
    """
    summary = _summarize(json)
    if not Path(images).is_dir():
        raise InputError(f"{images}: no such folder of pictures")
    if like is not None and summary.categories != json_categories(like):
        raise InputError(f"{json}: its categories are not those of {like}")
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
    """Return Detectron2's dicts; boxes are XYWH in px, masks polygons or compressed run-lengths."""
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
    """Return the steps in ``epochs`` of the pictures that have an object, rounded up.

    Raises:
        InputError: if there is none.
    """
    pictures = _summarize(json).num_pictures
    if not pictures:
        raise InputError(f"{json}: no picture has an object to train on")
    return -(-pictures * epochs // batch_size)


def mask_format(json: str) -> str:
    """Return what Detectron2's mapper can hold the masks of a file in: run-lengths need bitmaps."""
    return "bitmask" if _summarize(json).has_runs else "polygon"


class JsonEvaluator(COCOEvaluator):
    """``COCOEvaluator`` for files without areas, crowd marks or ids of annotations, or with the id 0."""

    def __init__(self, dataset_name: str, **kwargs: Any) -> None:
        metadata = MetadataCatalog.get(dataset_name).as_dict()
        with TemporaryDirectory() as folder:
            whole = str(Path(folder, "whole.json"))  # with what COCO's evaluation asks for
            write_json(Path(whole), read_coco(Path(metadata["json_file"])).dataset)
            MetadataCatalog.get(whole).set(**metadata | {"name": whole, "json_file": whole})
            super().__init__(whole, **kwargs)
            MetadataCatalog.pop(whole)


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


def check_pictures(json: str, images: str) -> None:
    """Read every picture of a COCO-format file once, with a bar on a terminal.

    Raises:
        InputError: naming the first that is missing, damaged or of another size.
    """
    console = Console(stderr=True, markup=False)
    check_images(
        read_coco(Path(json)), Path(images), lambda items, n: track(items, n, "checking pictures", console)
    )
