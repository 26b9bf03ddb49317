"""Statistics of a data set: sizes of images and objects, and objects per image and per class."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO

BORDER = 1.01  # px; a box that comes this close to an edge counts as touching it, also after rounding

# COCO's size classes: name -> the area in square pixels at which the class ends (exclusive).
SIZE_CLASSES = {"small": 32**2, "medium": 96**2, "large": np.inf}


@dataclass(frozen=True)
class Statistics:
    """The numbers that describe one split of a data set. Crowd regions are counted, but are not objects.

    Attributes:
        image_sizes: (I, 2) width and height of each image, px.
        objects_per_image: (I,) in the same order.
        classes: name of each class, in the order of the category ids.
        objects_per_class: (C,).
        images_per_class: (C,) number of images that contain at least one object of the class.
        areas: (K,) area of each object: that of its mask or, without a mask, of its box, square px.
        num_crowds: number of crowd regions.
        num_masks: number of objects with a mask.
        num_at_border: number of objects whose box comes within 1 px of an edge of its image.
    """

    image_sizes: NDArray[np.int64]
    objects_per_image: NDArray[np.int64]
    classes: tuple[str, ...]
    objects_per_class: NDArray[np.int64]
    images_per_class: NDArray[np.int64]
    areas: NDArray[np.float64]
    num_crowds: int
    num_masks: int
    num_at_border: int

    @property
    def num_images(self) -> int:
        """Number of images."""
        return len(self.image_sizes)

    @property
    def num_objects(self) -> int:
        """Number of objects that are not crowd regions."""
        return len(self.areas)

    @property
    def num_empty_images(self) -> int:
        """Number of images without objects."""
        return int((self.objects_per_image == 0).sum())

    @property
    def empty_classes(self) -> tuple[str, ...]:
        """Names of the classes without objects."""
        return tuple(
            name for name, count in zip(self.classes, self.objects_per_class, strict=True) if count == 0
        )

    @property
    def objects_per_size_class(self) -> dict[str, int]:
        """Number of small, medium and large objects, as COCO defines them."""
        edges = list(SIZE_CLASSES.values())[:-1]
        counts = np.bincount(np.digitize(self.areas, edges), minlength=len(SIZE_CLASSES))
        return dict(zip(SIZE_CLASSES, counts.tolist(), strict=True))

    def summary(self) -> dict[str, Any]:
        """Return the statistics as values that JSON can store."""
        per_class = zip(self.classes, self.objects_per_class, self.images_per_class, strict=True)
        return {
            "images": self.num_images,
            "images_without_objects": self.num_empty_images,
            "image_width": min_median_max(self.image_sizes[:, 0]),
            "image_height": min_median_max(self.image_sizes[:, 1]),
            "objects": self.num_objects,
            "objects_with_masks": self.num_masks,
            "objects_at_border": self.num_at_border,
            "crowds": self.num_crowds,
            "objects_per_image": min_median_max(self.objects_per_image),
            "objects_per_size_class": self.objects_per_size_class,
            "sqrt_area": min_median_max(np.sqrt(self.areas)),
            "classes": [
                {"name": name, "objects": int(objects), "images": int(images)}
                for name, objects, images in per_class
            ],
        }


def compute_statistics(coco: COCO) -> Statistics:
    """Return the statistics of a data set.

    Args:
        coco: the data set; its annotations have ``bbox``, ``area`` and ``iscrowd``.
    """
    images, annotations = coco.dataset["images"], coco.dataset["annotations"]
    categories = sorted(coco.dataset["categories"], key=lambda category: category["id"])
    sizes = _array(chain.from_iterable((image["width"], image["height"]) for image in images), int, 2)
    boxes = _array(chain.from_iterable(annotation["bbox"] for annotation in annotations), float, 4)
    areas = _array((annotation["area"] for annotation in annotations), float)
    crowd = _array((annotation["iscrowd"] for annotation in annotations), bool)
    has_mask = _array((bool(annotation.get("segmentation")) for annotation in annotations), bool)
    image_of = _indices(images, annotations, "image_id")
    class_of = _indices(categories, annotations, "category_id")

    boxes, areas, has_mask, image_of, class_of = (
        array[~crowd] for array in (boxes, areas, has_mask, image_of, class_of)
    )
    right_bottom = boxes[:, :2] + boxes[:, 2:]
    at_border = (boxes[:, :2] <= BORDER) | (right_bottom >= sizes[image_of] - BORDER)
    image_and_class = np.unique(image_of * len(categories) + class_of)
    return Statistics(
        image_sizes=sizes,
        objects_per_image=np.bincount(image_of, minlength=len(images)),
        classes=tuple(category["name"] for category in categories),
        objects_per_class=np.bincount(class_of, minlength=len(categories)),
        images_per_class=np.bincount(image_and_class % len(categories), minlength=len(categories)),
        areas=areas,
        num_crowds=int(crowd.sum()),
        num_masks=int(has_mask.sum()),
        num_at_border=int(at_border.any(axis=1).sum()),
    )


def min_median_max(values: NDArray[Any]) -> dict[str, float] | None:
    """Return the minimum, the median and the maximum of an array, or None if it is empty."""
    if not len(values):
        return None
    return {"min": values.min().item(), "median": float(np.median(values)), "max": values.max().item()}


def _array(values: Iterable[Any], dtype: type, columns: int = 0) -> NDArray[Any]:
    array: NDArray[Any] = np.fromiter(values, dtype)
    return array.reshape(-1, columns) if columns else array


def _indices(entries: list[Any], annotations: list[Mapping[str, Any]], key: str) -> NDArray[np.int64]:
    """Return the position in ``entries`` of the id that each annotation has in ``key``."""
    index_of = {entry["id"]: index for index, entry in enumerate(entries)}
    return _array((index_of[annotation[key]] for annotation in annotations), int)
