"""A COCO-format data set as torchvision's detectors take it, and batches of pictures of like shape."""

from collections.abc import Callable, Iterator
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

from mvit_det.data.annotations import category_names
from mvit_det.data.images import read_entry

Target = dict[str, Any]


class CocoPictures(CocoDetection):
    """Pictures with their objects: ``dataset[i]`` -> (image, target).

    The image is a uint8 (3, H, W) tensor; the target has ``boxes`` (K, 4) XYXY in px, ``labels`` (K,)
    from 1 in the order of the category ids, ``masks`` (K, H, W) and ``image_id``. Crowd regions are
    left out; a picture without objects has K = 0. ``transforms`` is called with both.
    """

    def __init__(
        self,
        coco: COCO,
        folder: Path,
        transforms: Callable[[Tensor, Target], tuple[Tensor, Target]] | None = None,
    ) -> None:
        VisionDataset.__init__(self, folder, transforms)  # CocoDetection's own would read a file
        self.coco = coco
        self.ids = sorted(coco.imgs)
        self.label_of = {id_: label for label, id_ in enumerate(category_names(coco), start=1)}

    def _load_image(self, id: int) -> Image.Image:
        return read_entry(Path(self.root), self.coco.imgs[id])

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        image_id = self.ids[index]
        image = F.pil_to_tensor(self._load_image(image_id))
        size = image.shape[-2:]
        objects = [entry for entry in self._load_target(image_id) if not entry["iscrowd"]]
        masks = np.zeros((len(objects), *size), np.uint8)
        for mask, entry in zip(masks, objects, strict=True):
            mask[:] = self.coco.annToMask(entry)
        boxes = torch.tensor([entry["bbox"] for entry in objects], dtype=torch.float32)
        boxes = boxes.reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        target = {
            "image_id": image_id,
            "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size),
            "labels": torch.tensor([self.label_of[e["category_id"]] for e in objects]).long(),
            "masks": tv_tensors.Mask(torch.from_numpy(masks)),
        }
        image = tv_tensors.Image(image)
        return (image, target) if self.transforms is None else self.transforms(image, target)

    def aspect_ratios(self) -> list[float]:
        """Return width / height of each picture, in the order of the data set."""
        return [entry["width"] / entry["height"] for entry in self.coco.loadImgs(self.ids)]


class AspectRatioBatches:
    """Batches of indexes in which wide pictures go with wide ones and tall with tall.

    Each epoch is shuffled anew from ``seed``; it covers every picture and repeats a few, so that
    every optimiser step of every process sees ``batch_size * accumulate`` pictures.

    Args:
        aspect_ratios: width / height of each picture.
        batch_size: pictures in a batch.
        accumulate: batches in an optimiser step.
        rank: which of the processes this is.
        world_size: number of processes, which share an epoch between them.
        seed: of the shuffling, the same in all processes.
    """

    def __init__(
        self,
        aspect_ratios: list[float],
        batch_size: int,
        *,
        accumulate: int = 1,
        rank: int = 0,
        world_size: int = 1,
        seed: int = 0,
    ) -> None:
        self.is_wide = np.array(aspect_ratios) >= 1
        self.batch_size, self.rank, self.world_size, self.seed = batch_size, rank, world_size, seed
        self.epoch = 0
        step = batch_size * accumulate * world_size
        self.num_indexes = -(-len(aspect_ratios) // step) * step

    @property
    def sampler(self) -> "AspectRatioBatches":
        return self  # where Lightning looks for set_epoch

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_indexes // (self.batch_size * self.world_size)

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng((self.seed, self.epoch))
        order = np.resize(random.permutation(len(self.is_wide)), self.num_indexes)
        order = order[np.argsort(self.is_wide[order], kind="stable")]
        batches = random.permutation(order.reshape(-1, self.batch_size))
        yield from batches[self.rank :: self.world_size].tolist()


def collate(samples: list[tuple[Tensor, Any]]) -> tuple[list[Tensor], list[Any]]:
    """Keep the pictures of a batch apart: torchvision's detectors pad them themselves."""
    images, targets = zip(*samples, strict=True)
    return list(images), list(targets)
