"""Augmentation of training images and their objects, built from torchvision's transforms v2."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import masks_to_boxes
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from mvit_det.errors import unknown_name
from mvit_det.torchvision.data.resize import RandomShortestSize, ScaleJitter

Target = dict[str, Any]
Augmentation = Callable[[Tensor, Target], tuple[Tensor, Target]]

# Sizes of the "multiscale" recipe for a short side of 800 px at test time; other short sides scale them.
REFERENCE_SHORT_SIDE = 800
SHORT_SIDES = (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
SHORT_SIDES_BEFORE_CROP = (400, 500, 600)
CROP_SIDES = (384, 600)


def build_augmentation(name: str, short_side: int, long_side: int) -> Augmentation:
    """Return the augmentation of a training recipe, a function from (image, target) to (image, target).

    It takes a uint8 image and returns a float32 image in 0..1. Objects that are cropped away are removed,
    and boxes are clipped to the visible part of their masks. Every augmentation flips half of the images.

    Args:
        name: ``"flip"`` resizes images as at test time. ``"multiscale"`` crops half of the images and
            then draws a short side of 0.6 to 1 times ``short_side`` (the 36-epoch recipe). ``"lsj"`` is
            large-scale jittering: it scales images by 0.1 to 2 relative to a square of ``long_side``, then
            crops that square.
        short_side: short side of an image at test time, px.
        long_side: limit on the long side, px.

    Raises:
        ValueError: for an unknown name.

    Source: MViTv2, section 5.2; large-scale jittering: Copy-Paste, arXiv 2012.07177.
    """

    def scaled(sides: Sequence[int]) -> list[int]:
        return [max(1, round(side * short_side / REFERENCE_SHORT_SIDE)) for side in sides]

    steps: dict[str, list[v2.Transform]] = {
        "flip": [RandomShortestSize(short_side, max_size=long_side)],
        "multiscale": [
            v2.RandomApply(
                [
                    RandomShortestSize(scaled(SHORT_SIDES_BEFORE_CROP)),
                    RandomSizeCrop(*scaled(CROP_SIDES)),
                ]
            ),
            RandomShortestSize(scaled(SHORT_SIDES), max_size=long_side),
        ],
        "lsj": [
            ScaleJitter((long_side, long_side), scale_range=(0.1, 2.0)),
            RandomSizeCrop(long_side, long_side),
        ],
    }
    if name not in steps:
        raise unknown_name("augmentation", name, steps)
    return _Augment([v2.RandomHorizontalFlip(), *steps[name], v2.ToDtype(torch.float32, scale=True)])


class _Augment:
    """A class rather than a closure, so that it can be pickled for data loader processes."""

    def __init__(self, steps: list[v2.Transform]) -> None:
        self.transform = v2.Compose(steps)

    def __call__(self, image: Tensor, target: Target) -> tuple[Tensor, Target]:
        image, target = self.transform(image, target)
        return image.as_subclass(Tensor), keep_visible(target)


def to_float(image: Tensor, target: Target) -> tuple[Tensor, Target]:
    """Prepare an image for evaluation: float32 in 0..1, at its original size."""
    return F.to_dtype(image, torch.float32, scale=True).as_subclass(Tensor), target


class RandomSizeCrop(v2.Transform):
    """Crop a random region, with a height and a width drawn from ``min_size`` to ``max_size`` px.

    A side of the image that is shorter than the drawn size is not cropped.
    """

    def __init__(self, min_size: int, max_size: int) -> None:
        super().__init__()
        self.min_size, self.max_size = min_size, max_size

    def make_params(self, flat_inputs: list[Any]) -> dict[str, int]:
        height, width = v2.query_size(flat_inputs)
        crop_h, crop_w = (
            min(side, _draw(min(self.min_size, side), min(self.max_size, side))) for side in (height, width)
        )
        top, left = _draw(0, height - crop_h), _draw(0, width - crop_w)
        return {"top": top, "left": left, "height": crop_h, "width": crop_w}

    def transform(self, inpt: Any, params: dict[str, int]) -> Any:
        return self._call_kernel(F.crop, inpt, **params)


def _draw(low: int, high: int) -> int:
    return int(torch.randint(low, high + 1, ()))


def keep_visible(target: Target) -> Target:
    """Remove objects without a visible pixel from a target, and clip boxes to the visible masks.

    A box is clipped only where it extends more than a pixel beyond its mask, so that uncropped objects keep
    the precision of their annotation. The results are plain tensors.
    """
    masks = target["masks"].as_subclass(Tensor)
    boxes = target["boxes"].as_subclass(Tensor)
    visible = masks.bool().flatten(1).any(1)
    masks, boxes = masks[visible], boxes[visible]
    inner = masks_to_boxes(masks)  # the first and the last pixel
    boxes = torch.cat([boxes[:, :2].maximum(inner[:, :2] - 1), boxes[:, 2:].minimum(inner[:, 2:] + 2)], dim=1)
    height, width = masks.shape[-2:]
    boxes = boxes.clamp(min=0).minimum(boxes.new_tensor([width, height, width, height]))
    not_empty = (boxes[:, 2:] - boxes[:, :2]).amin(1) > 0
    return target | {
        "boxes": boxes[not_empty],
        "labels": target["labels"][visible][not_empty],
        "masks": masks[not_empty],
    }
