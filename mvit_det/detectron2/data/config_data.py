"""The data sets that the keys under ``data`` of a config name: a folder, or JSON files."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from detectron2.utils import comm

from mvit_det.data.dataset import Dataset, read_dataset
from mvit_det.data.folders import open_folder
from mvit_det.data.sources import check_has_objects, read_evaluation_set, read_train_and_val
from mvit_det.errors import InputError
from mvit_det.report.console import PlainConsole, check_images_with_progress

Keys = Mapping[str, Any]  # the keys under ``data``, as in configs/common/data/user_data.py


@dataclass(frozen=True)
class ConfigData:
    """The data sets that a config names. They are read when they are needed, and then kept.

    The attributes are the keys under ``data``. Every property raises an :class:`InputError` if a key that it
    needs is missing, or if the data cannot be used.
    """

    root: Path | None
    train_json: Path | None
    train_images: Path | None
    val_json: Path | None
    val_images: Path | None
    drop_invalid: bool

    @cached_property
    def train(self) -> Dataset:
        """The training set, after a check of every image."""
        dataset = self._check_images(self._train_and_val[0])
        check_has_objects(dataset)  # again: all objects may have been in images that were dropped
        return dataset

    @cached_property
    def val(self) -> Dataset:
        """The set that a detector is evaluated on, after a check of every image."""
        return self._check_images(self._unchecked_val)

    @cached_property
    def has_val(self) -> bool:
        """Whether a training run has a validation set."""
        return self.val_json is not None or (self.root is not None and self._train_and_val[1] is not None)

    @cached_property
    def categories(self) -> dict[int, str]:
        """Category id -> name, in the order of a detector's classes.

        They are those of the training set, whose images need not exist, or else those of the validation set.
        """
        if self._has_train:
            return self._train_and_val[0].categories
        if self.train_json is not None:
            return read_dataset(self.train_json, None, drop_invalid=self.drop_invalid).categories
        return self._unchecked_val.categories

    def release_train(self) -> None:
        """Free the memory of the training set, which is read again if it is needed again."""
        for name in ("train", "_train_and_val"):
            vars(self).pop(name, None)  # the value of a cached property

    @cached_property
    def _has_train(self) -> bool:
        """Whether the keys name a training set with its images."""
        if self.root is not None:
            return "train" in open_folder(self.root).splits
        return self.train_json is not None and self.train_images is not None

    @cached_property
    def _train_and_val(self) -> tuple[Dataset, Dataset | None]:
        if self.root is None:
            _require("train_json", self.train_json)
            _require("train_images", self.train_images)
        return read_train_and_val(
            data=self.root,
            json=self.train_json,
            images=self.train_images,
            val_json=self.val_json,
            val_images=self.val_images,
            drop_invalid=self.drop_invalid,
        )

    @cached_property
    def _unchecked_val(self) -> Dataset:
        """The set beside the training set, or else the one that is for evaluation alone."""
        val = self._train_and_val[1] if self._has_train else None
        if val is not None:
            return val
        images = self.val_images or self.train_images
        if self.root is None:
            _require("val_json", self.val_json)
            _require("val_images", images)
        return read_evaluation_set(
            data=self.root, json=self.val_json, images=images, drop_invalid=self.drop_invalid
        )

    def _check_images(self, dataset: Dataset) -> Dataset:
        console = PlainConsole(stderr=True, quiet=not comm.is_main_process())
        return check_images_with_progress(dataset, console, drop_invalid=self.drop_invalid)


_cached_data = cache(ConfigData)


def config_data(keys: Keys) -> ConfigData:
    """Return the data sets that the keys under ``data`` of a config name, the same object for equal keys.

    Raises:
        InputError: if the value of a key is not a path, or if a folder and a JSON file are both given.
    """
    values = {"root": keys["root"]}
    values |= {
        f"{split}_{name}": keys[split][name] for split in ("train", "val") for name in ("json", "images")
    }
    for name, value in values.items():
        if not (value is None or (isinstance(value, str) and value)):
            raise InputError(f"{_key(name)} is {value!r}: expected a path")
    paths = {name: None if value is None else Path(value) for name, value in values.items()}
    json = next((name for name in ("train_json", "val_json") if paths[name]), None)
    if paths["root"] and json:
        raise InputError(f"data.root and {_key(json)} are both set: expected a folder or JSON files")
    return _cached_data(**paths, drop_invalid=keys["drop_invalid"])


def _require(name: str, path: Path | None) -> None:
    if path is None:
        key = _key(name)
        raise InputError(f"{key} is not set: add {key}=..., or data.root=... for a folder with its splits")


def _key(name: str) -> str:
    return f"data.{name.replace('_', '.')}"
