"""The data sets that the keys under ``data`` of a config name: a folder, or JSON files."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from detectron2.utils import comm
from omegaconf import DictConfig
from rich.console import Console

from mvit_det.data.dataset import Dataset, read_dataset
from mvit_det.data.folders import open_folder
from mvit_det.data.sources import check_has_objects, read_evaluation_set, read_train_and_val
from mvit_det.detectron2.data.registration import register, unregister
from mvit_det.errors import InputError
from mvit_det.report.console import check_images_with_progress
from mvit_det.report.data_problems import report_data

Keys = Mapping[str, Any]  # the keys under ``data``, as in configs/common/data/user_data.py


def register_split(data: Keys, split: str) -> str:
    """Read a split and every image of it, register it with Detectron2, and return its name there.

    Args:
        data: the keys under ``data`` of a config.
        split: ``"train"``, or ``"val"`` for the set that a detector is evaluated on.

    Raises:
        InputError: if the data cannot be used; see :func:`read_split`.
    """
    dataset = read_split(data, split)
    option = "drop_invalid" if data["drop_invalid"] else ""
    name = ":".join(filter(None, (str(dataset.source), str(dataset.images), dataset.split, option)))
    register(name, dataset)
    return name


def release_training_set(cfg: DictConfig) -> None:
    """Free the memory of the training set, after its data loader has been built.

    The loader has a serialized copy. Python objects would in addition be copied by each worker process.
    """
    if "data" not in cfg:
        return
    unregister(register_split(cfg.data, "train"))
    for function in (_train_and_val, _training_file, _checked_train):
        function.cache_clear()


def read_split(data: Keys, split: str) -> Dataset:
    """Return a split after a check of every image, with a progress bar on a terminal.

    Args:
        data: the keys under ``data`` of a config.
        split: ``"train"``, or ``"val"`` for the set that a detector is evaluated on.

    Raises:
        InputError: if a key is missing or wrong, if the data cannot be read, or if an entry or an image
            cannot be used and ``data.drop_invalid`` is false.
    """
    paths = _paths(data)
    return _checked_train(paths) if split == "train" else _checked_val(paths)


def has_validation_set(cfg: DictConfig) -> bool:
    """Return whether a training run with this config has a validation set.

    Raises:
        InputError: if the data cannot be read.
    """
    if "data" not in cfg:  # a data set of Detectron2's catalog
        return True
    paths = _paths(cfg.data)
    return paths.val_json is not None or (paths.root is not None and _train_and_val(paths)[1] is not None)


def log_data(cfg: DictConfig, splits: Sequence[str]) -> None:
    """Log what the data of a run contain, and write the list of their problems to ``train.output_dir``.

    Args:
        cfg: the config of the run.
        splits: the splits that the run reads.
    """
    if "data" not in cfg or not comm.is_main_process():
        return
    logger, folder = logging.getLogger(__name__), Path(cfg.train.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    datasets = [read_split(cfg.data, split) for split in splits]
    for line in report_data(datasets, folder, drop_invalid=cfg.data.drop_invalid):
        logger.info(line)
    if "val" not in splits:
        logger.info("no validation set: the detector is not evaluated, and no best checkpoint is written")


def categories_of(data: Keys) -> dict[int, str]:
    """Return category id -> name, in the order of a detector's classes.

    They are those of the training set, whose images need not exist, or else those of the validation set.

    Raises:
        InputError: if the data cannot be read.
    """
    paths = _paths(data)
    if paths.train_json is not None or _has_training_split(paths):
        return _training_file(paths).categories
    return _val(paths).categories


def count_classes(data: Keys) -> int:
    """Return the number of classes."""
    return len(categories_of(data))


def count_steps(data: Keys, epochs: int, batch_size: int) -> int:
    """Return the number of steps in ``epochs`` passes over the training images, rounded up."""
    return -(-len(read_split(data, "train").coco.imgs) * epochs // batch_size)


def mask_format(data: Keys) -> str:
    """Return the ``instance_mask_format`` of Detectron2's mapper: ``"bitmask"`` if a mask is RLE.

    Raises:
        InputError: if an object of the training set has no mask.
    """
    dataset = read_split(data, "train")
    if not dataset.has_masks:
        raise InputError(
            f"{dataset.source}: {dataset.num_masks:,} of {dataset.num_objects:,} objects have a mask, and "
            "this config trains on masks; for boxes alone, use a config such as finetune_faster_rcnn_mvitv2_t"
        )
    masks = (entry["segmentation"] for entry in dataset.coco.anns.values() if not entry["iscrowd"])
    return "bitmask" if any(isinstance(mask, dict) for mask in masks) else "polygon"


@dataclass(frozen=True)
class _Paths:
    root: str | None
    train_json: str | None
    train_images: str | None
    val_json: str | None
    val_images: str | None
    drop_invalid: bool

    def path(self, name: str) -> Path | None:
        value = getattr(self, name)
        return None if value is None else Path(value)


def _paths(data: Keys) -> _Paths:
    """Return the keys as a hashable value, after a check of each of them."""
    values = {name: data[name] for name in ("root", "drop_invalid")}
    values |= {
        f"{split}_{name}": data[split][name] for split in ("train", "val") for name in ("json", "images")
    }
    for name, value in values.items():
        if name != "drop_invalid" and not (value is None or (isinstance(value, str) and value)):
            raise InputError(f"data.{name.replace('_', '.')} is {value!r}: expected a path")
    jsons = [f"data.{split}.json" for split in ("train", "val") if values[f"{split}_json"]]
    if values["root"] and jsons:
        raise InputError(f"data.root and {jsons[0]} are both set: expected a folder or JSON files")
    return _Paths(**values)


@cache
def _train_and_val(paths: _Paths) -> tuple[Dataset, Dataset | None]:
    if paths.root is None:
        for key in ("train_json", "train_images"):
            if getattr(paths, key) is None:
                raise _not_set(key)
    return read_train_and_val(
        *(paths.path(field.name) for field in fields(paths)[:-1]), drop_invalid=paths.drop_invalid
    )


@cache
def _val(paths: _Paths) -> Dataset:
    has_training_set = _has_training_split(paths) or (paths.train_json and paths.train_images)
    val = _train_and_val(paths)[1] if has_training_set else None
    if val is not None:
        return val
    if paths.root is None and paths.val_json is None:
        raise _not_set("val_json")
    images = paths.path("val_images") or paths.path("train_images")
    if paths.root is None and images is None:
        raise _not_set("val_images")
    return read_evaluation_set(
        paths.path("root"), paths.path("val_json"), images, drop_invalid=paths.drop_invalid
    )


@cache
def _has_training_split(paths: _Paths) -> bool:
    return paths.root is not None and "train" in open_folder(Path(paths.root)).splits


@cache
def _training_file(paths: _Paths) -> Dataset:
    if paths.root is not None or paths.train_images is not None:
        return _train_and_val(paths)[0]
    return read_dataset(Path(paths.train_json or ""), None, drop_invalid=paths.drop_invalid)


@cache
def _checked_train(paths: _Paths) -> Dataset:
    dataset = _check_images(_train_and_val(paths)[0], paths)
    check_has_objects(dataset)  # again: all objects may have been in images that were dropped
    return dataset


@cache
def _checked_val(paths: _Paths) -> Dataset:
    return _check_images(_val(paths), paths)


def _check_images(dataset: Dataset, paths: _Paths) -> Dataset:
    console = Console(stderr=True, markup=False, quiet=not comm.is_main_process())
    return check_images_with_progress(dataset, console, drop_invalid=paths.drop_invalid)


def _not_set(name: str) -> InputError:
    key = f"data.{name.replace('_', '.')}"
    return InputError(f"{key} is not set: add {key}=..., or data.root=... for a folder with its splits")
