"""COCO-format data sets with targets for torchvision's detectors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pycocotools.coco import COCO
from torch import Tensor
from torchvision import tv_tensors
from torchvision.datasets import CocoDetection, VisionDataset
from torchvision.transforms.v2 import functional as F

from mvit_det.data.coco.index import category_names
from mvit_det.data.images import read_entry
from mvit_det.torchvision.models.polygon_masks import PolygonMasks

Target = dict[str, Any]


class CocoDataset(CocoDetection):
    """Images with their objects: ``dataset[i]`` is an (image, target) pair.

    The image is a uint8 (3, H, W) tensor. The target has ``boxes`` (K, 4) XYXY in px, ``labels`` (K,)
    from 1 in the order of the category ids, ``image_id`` and, optionally, ``masks``:
    :class:`mvit_det.torchvision.models.polygon_masks.PolygonMasks` if all masks of the image are polygons,
    or else (K, H, W) uint8. Crowd regions are left out. K is 0 for an image without objects.

    Args:
        coco: the annotations.
        folder: folder that the ``file_name`` of each image is relative to.
        transforms: function from (image, target) to (image, target).
        with_masks: whether the target has masks. Every object must have one.
    """

    def __init__(
        self,
        coco: COCO,
        folder: Path,
        transforms: Callable[[Tensor, Target], tuple[Tensor, Target]] | None = None,
        *,
        with_masks: bool = True,
    ) -> None:
        VisionDataset.__init__(self, folder, transforms)  # CocoDetection's would read a file of annotations
        self.coco, self.with_masks = coco, with_masks
        self.ids = sorted(coco.imgs)
        self.labels = {id_: label for label, id_ in enumerate(category_names(coco), start=1)}

    def _load_image(self, id: int) -> Image.Image:
        return read_entry(Path(self.root), self.coco.imgs[id])

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        image_id = self.ids[index]
        image = F.pil_to_tensor(self._load_image(image_id))
        size = (image.shape[1], image.shape[2])
        objects = [entry for entry in self._load_target(image_id) if not entry["iscrowd"]]
        boxes = torch.tensor([entry["bbox"] for entry in objects], dtype=torch.float32)
        boxes = boxes.reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        target: Target = {
            "image_id": image_id,
            "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size),
            "labels": torch.tensor([self.labels[entry["category_id"]] for entry in objects]).long(),
        }
        if self.with_masks:
            target["masks"] = self._masks(objects, size)
        image = tv_tensors.Image(image)
        return (image, target) if self.transforms is None else self.transforms(image, target)

    def _masks(self, objects: list[Target], size: tuple[int, int]) -> PolygonMasks | tv_tensors.Mask:
        segmentations = [entry["segmentation"] for entry in objects]
        if all(isinstance(segmentation, list) for segmentation in segmentations):
            return PolygonMasks.from_coco(segmentations, size)
        masks = np.zeros((len(objects), *size), np.uint8)
        for mask, entry in zip(masks, objects, strict=True):
            mask[:] = self.coco.annToMask(entry)
        return tv_tensors.Mask(torch.from_numpy(masks))

    def aspect_ratios(self) -> list[float]:
        """Return width / height of each image, in the order of the data set."""
        return [entry["width"] / entry["height"] for entry in self.coco.loadImgs(self.ids)]
