"""Data sets in LVIS's format: class frequencies, registration and evaluation."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.detection_utils import get_fed_loss_cls_weights
from detectron2.evaluation import LVISEvaluator
from torch import Tensor

from mvit_det.data.dataset import dataset_from
from mvit_det.data.json_files import read_json
from mvit_det.detectron2.data.registration import register
from mvit_det.errors import DependencyError, InputError

FREQUENCIES = ("r", "c", "f")  # rare, common, frequent


def register_lvis(json: str, images: str) -> str:
    """Register a data set in LVIS's format with Detectron2, and return its name there.

    LVIS's own files are registered by Detectron2 as ``"lvis_v1_train"`` and ``"lvis_v1_val"``.

    Args:
        json: path of the JSON file: COCO's format, with ``frequency`` and ``image_count`` in each category,
            and with ``neg_category_ids`` and ``not_exhaustive_category_ids`` in each image. An image without
            ``file_name`` is named by the last two parts of its ``coco_url``.
        images: folder that the names of the images are relative to.

    Raises:
        InputError: if the file is not valid, or if a field is missing.
    """
    name = f"{json}:{images}"
    if name in DatasetCatalog:
        return name
    data = _read_lvis(json)
    for image in data["images"]:
        if "coco_url" in image:
            image.setdefault("file_name", "/".join(str(image["coco_url"]).split("/")[-2:]))
    counts = [{key: category[key] for key in ("id", "image_count")} for category in data["categories"]]
    dataset = dataset_from(data, Path(json), Path(images))
    register(name, dataset, json_file=json, evaluator_type="lvis", class_image_count=counts)
    return name


def class_weights(names: str | list[str], power: float) -> Callable[[], Tensor]:
    """Return a function that computes the weights of the classes in the federated loss.

    The weight of a class is the number of training images that contain it, to the given power. Classes are
    sampled as negatives in proportion to their weights.

    Source: Probabilistic two-stage detection, arXiv 2103.07461, which samples by the square root.

    Args:
        names: the training set, registered with Detectron2; its metadata have ``class_image_count``.
        power: the exponent.

    Raises:
        InputError: if the metadata of a data set have no ``class_image_count``.
    """
    for name in [names] if isinstance(names, str) else names:
        if not MetadataCatalog.get(name).get("class_image_count"):
            raise InputError(
                f"data set {name}: the federated loss needs the number of images of each class; use LVIS v1, "
                "or register a file in LVIS's format with mvit_det.detectron2.data.lvis.register_lvis"
            )
    return partial(get_fed_loss_cls_weights, names, power)


class LvisEvaluator(LVISEvaluator):
    """Detectron2's ``LVISEvaluator`` for every version of NumPy, with a one-line error for a missing package.

    Raises:
        DependencyError: if the package ``lvis`` is not installed.
    """

    def __init__(self, dataset_name: str, **kwargs: Any) -> None:
        check_lvis_package()
        super().__init__(dataset_name, **kwargs)

    def evaluate(self) -> Mapping[str, Mapping[str, float]] | None:
        """Return task -> metric -> value in the main process, and None in others."""
        with _numpy_float():
            results: Mapping[str, Mapping[str, float]] | None = super().evaluate()
        return results


def check_lvis(name: str) -> None:
    """Check that a registered data set can be evaluated, if it is evaluated as LVIS is.

    Raises:
        DependencyError: if the package ``lvis`` is not installed.
        InputError: if the file of the data set cannot be read or lacks a field. The message names the field.
    """
    metadata = MetadataCatalog.get(name)
    if metadata.get("evaluator_type") == "lvis":
        check_lvis_package()
        _read_lvis(metadata.json_file)


def check_lvis_package() -> None:
    """Check that the package ``lvis`` is installed.

    Raises:
        DependencyError: if it is not.
    """
    try:
        import_module("lvis")
    except ImportError as error:
        raise DependencyError(f"LVIS needs the package lvis: pip install lvis ({error})") from None


def _read_lvis(json: str) -> dict[str, Any]:
    data: dict[str, Any] = read_json(Path(json), dict, "an object with images, annotations, categories")
    for name in ("categories", "images"):
        if not isinstance(data.get(name, []), list):
            raise InputError(f"{json}: {name}: is not a list")
        for index, entry in enumerate(data.get(name, [])):
            if not isinstance(entry, dict):
                raise InputError(f"{json}: {name}[{index}]: is not an object, as in LVIS")
    for index, category in enumerate(data.get("categories", [])):
        where = f"{json}: categories[{index}]"
        if category.get("frequency") not in FREQUENCIES:
            raise InputError(
                f"{where}.frequency: is {category.get('frequency')!r}; LVIS's format has r, c or f for rare, "
                "common and frequent classes"
            )
        count = category.get("image_count")
        if not isinstance(count, int) or count < 0:
            raise InputError(
                f"{where}.image_count: is {count!r}; LVIS's format has the number of training images that "
                "contain the class"
            )
    for index, image in enumerate(data.get("images", [])):
        for key in ("neg_category_ids", "not_exhaustive_category_ids"):
            if not isinstance(image.get(key), list):
                raise InputError(f"{json}: images[{index}].{key}: is not a list of category ids, as in LVIS")
    return data


@contextmanager
def _numpy_float() -> Iterator[None]:
    """Provide ``numpy.float``, which lvis 0.5.3 uses and NumPy 1.24 removed."""
    if hasattr(np, "float"):
        yield
        return
    vars(np)["float"] = float
    try:
        yield
    finally:
        del vars(np)["float"]
