"""Reading and augmentation of the samples of Detectron2's data loaders."""

import copy
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.data import DatasetMapper
from detectron2.data import transforms as T
from detectron2.data.detection_utils import (
    SizeMismatchError,
    annotations_to_instances,
    check_image_size,
    convert_PIL_to_numpy,
)
from numpy.typing import NDArray
from PIL import Image

from mvit_det.data.images import read_image
from mvit_det.detectron2.data.train_loader import Sample
from mvit_det.errors import DependencyError, ImageError


class DetectionMapper(DatasetMapper):
    """Detectron2's ``DatasetMapper`` for object detection, with the image reader of this package.

    The keywords are those of ``DatasetMapper``. Images are read by
    :func:`mvit_det.data.images.read_image`, so that 16-bit, transparent and rotated images have the same
    pixels in training, evaluation and prediction, and in both integrations. Semantic segmentation and
    precomputed proposals are not read.

    Raises:
        DependencyError: if polygons are cropped and the package ``shapely``, which fvcore uses for it, is not
            installed.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        has_polygons = self.is_train and self.use_instance_mask and self.instance_mask_format == "polygon"
        if has_polygons and _crops(self.augmentations):
            _check_shapely()

    def __call__(self, dataset_dict: Sample) -> Sample:
        """Return the sample of one image.

        Args:
            dataset_dict: an entry of a data set in Detectron2's format. It is not changed.

        Returns:
            the entry with ``image``, a uint8 tensor (C, H, W) in ``image_format``, and in training with
            ``instances`` in place of ``annotations``.

        Raises:
            ImageError: if the file is missing or is not an image, or if the upright image does not have the
                width and height of the entry.
        """
        sample = copy.deepcopy(dataset_dict)
        pixels = to_pixels(read_image(Path(sample["file_name"])), self.image_format)
        try:
            check_image_size(sample, pixels)
        except SizeMismatchError:
            height, width = pixels.shape[:2]
            raise ImageError(
                f"{sample['file_name']}: is {width} x {height} px upright, but its entry says "
                f"{sample['width']} x {sample['height']}"
            ) from None
        augmented = T.AugInput(pixels)
        transforms = self.augmentations(augmented)
        sample["image"] = torch.from_numpy(np.ascontiguousarray(augmented.image.transpose(2, 0, 1)))
        if not self.is_train:
            sample.pop("annotations", None)
        elif any(not entry.get("iscrowd", 0) for entry in sample.get("annotations", [])):
            self._transform_annotations(sample, transforms, augmented.image.shape[:2])
        elif "annotations" in sample:  # without objects, from whose masks boxes could be recomputed
            sample.pop("annotations")
            sample["instances"] = annotations_to_instances([], augmented.image.shape[:2])
        return sample


def to_pixels(image: Image.Image, image_format: str) -> NDArray[np.uint8]:
    """Return the pixels (H, W, C) of a PIL image in a channel order of Detectron2, such as ``"BGR"``."""
    pixels: NDArray[np.uint8] = convert_PIL_to_numpy(image, image_format)
    return pixels


def _crops(augmentation: T.Augmentation) -> bool:
    """Return whether an augmentation, or one that it contains, crops the image."""
    inner = getattr(augmentation, "augs", None) or filter(None, [getattr(augmentation, "aug", None)])
    return isinstance(augmentation, T.RandomCrop | T.FixedSizeCrop) or any(map(_crops, inner))


def _check_shapely() -> None:
    try:
        import_module("shapely.geometry")
    except ImportError as error:
        raise DependencyError(
            f"cropping of polygons needs the package shapely: pip install shapely ({error})"
        ) from None
