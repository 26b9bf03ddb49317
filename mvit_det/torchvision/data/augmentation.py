"""Augmentation of training images and their objects, built from torchvision's transforms v2."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torchvision.ops import clip_boxes_to_image, masks_to_boxes
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from mvit_det.errors import unknown_name
from mvit_det.recipes import Recipe, scaled_long_side
from mvit_det.torchvision.data.dataset import Target
from mvit_det.torchvision.data.resize import LargeScaleJitter, RandomCrop, RandomShortestSize
from mvit_det.torchvision.models.polygon_masks import PolygonMasks

Augmentation = Callable[[Tensor, Target], tuple[Tensor, Target]]
AUGMENTATIONS = ("flip", "multiscale", "lsj")


def build_augmentation(name: str, recipe: Recipe, short_side: int) -> Augmentation:
    """Return an augmentation: a function from (image, target) to (image, target).

    It takes a uint8 image and returns a float32 image in 0..1. It clips boxes to the image, and removes
    objects that are cropped away. Masks keep the resolution of the annotation: they cover the same region as
    the image but may have another size. Every augmentation flips half of the images.

    Args:
        name: ``"flip"`` resizes images as at test time. ``"multiscale"`` is the augmentation of the recipe:
            random short sides and, in the 36-epoch recipe, crops of half of the images. ``"lsj"`` is
            large-scale jittering: it scales images by 0.1 to 2 relative to a square of ``short_side``,
            then crops that square, and computes the boxes from the cropped masks.
        recipe: recipe of the variant.
        short_side: short side of an image at test time, px. The sizes of the recipe scale with it.

    Raises:
        ValueError: for an unknown name.

    Source: MViTv2, section 5.2; large-scale jittering: Copy-Paste, arXiv 2012.07177.
    """
    if name not in AUGMENTATIONS:
        raise unknown_name("augmentation", name, AUGMENTATIONS)
    flip = v2.RandomHorizontalFlip()
    if name == "lsj":
        return _Augment([flip, LargeScaleJitter(short_side, (0.1, 2.0))], boxes_from_masks=True)
    if name == "flip":
        return _Augment([flip, RandomShortestSize((short_side,), scaled_long_side(short_side))])

    def scaled(sides: Iterable[int]) -> tuple[int, ...]:
        return tuple(max(1, round(side * short_side / recipe.short_side)) for side in sides)

    short_sides = scaled(recipe.train_short_sides)
    resize = RandomShortestSize(short_sides, scaled_long_side(max(short_sides)))
    if recipe.crop is None:
        return _Augment([flip, resize])
    smallest, largest = scaled(recipe.crop.sides)
    crop = RandomCrop(scaled(recipe.crop.short_sides), (smallest, largest))
    return _Augment([flip, v2.RandomApply([crop]), resize])


class _Augment:
    """Transforms an image and its target; a class, since data loader processes cannot pickle a closure."""

    def __init__(self, steps: list[v2.Transform], boxes_from_masks: bool = False) -> None:
        self.transform = v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True)])
        self.boxes_from_masks = boxes_from_masks

    def __call__(self, image: Tensor, target: Target) -> tuple[Tensor, Target]:
        polygons = target.get("masks")
        if isinstance(polygons, PolygonMasks):
            image, target = self.transform(image, target | {"masks": polygons.vertices()})
            target["masks"] = polygons.moved_to(target["masks"])
        else:
            image, target = self.transform(image, target)
        height, width = image.shape[-2:]
        return image.as_subclass(Tensor), keep_visible(target, (height, width), self.boxes_from_masks)


def to_float(image: Tensor, target: Target) -> tuple[Tensor, Target]:
    """Convert an image to float32 in 0..1, at its original size, for evaluation."""
    return F.to_dtype(image, torch.float32, scale=True).as_subclass(Tensor), target


def keep_visible(target: Target, shape: tuple[int, int], boxes_from_masks: bool = False) -> Target:
    """Clip boxes to the image, and remove objects without a visible part.

    The result has plain tensors instead of ``tv_tensors``.

    Args:
        target: ``boxes``, ``labels`` and, if the objects have masks, ``masks``: :class:`PolygonMasks` or
            (K, H, W).
        shape: (height, width) of the image, px.
        boxes_from_masks: also clip boxes to the visible part of their masks, where they extend more than a
            pixel of the mask beyond it. Objects that are not cropped keep the precision of their annotation.
    """
    objects = {"boxes": clip_boxes_to_image(target["boxes"].as_subclass(Tensor), shape)}
    objects["labels"] = target["labels"]
    if "masks" in target:
        masks = target["masks"]
        objects["masks"] = masks if isinstance(masks, PolygonMasks) else masks.as_subclass(Tensor)
        visible = _visible_boxes(objects["masks"])
        if boxes_from_masks:
            objects["boxes"] = _clip_to_masks(objects["boxes"], visible, masks.shape[1:], shape)
        objects = _select(objects, (visible[:, 2:] > visible[:, :2]).all(1))
    low, high = objects["boxes"].split(2, dim=1)
    return target | _select(objects, (high > low).all(1))


def _select(objects: Target, index: Tensor) -> Target:
    return {name: values[index] for name, values in objects.items()}


def _visible_boxes(masks: PolygonMasks | Tensor) -> Tensor:
    """Return the box around the visible part of each mask, (K, 4) XYXY in px of the masks; zeros if none."""
    if isinstance(masks, PolygonMasks):
        return masks.visible_boxes()
    boxes = masks_to_boxes(masks)  # the first and the last pixel of each mask; zeros for an empty mask
    boxes[:, 2:] += masks.any(2).any(1)[:, None]
    return boxes


def _clip_to_masks(
    boxes: Tensor, visible: Tensor, mask_shape: tuple[int, int], shape: tuple[int, int]
) -> Tensor:
    scale = boxes.new_tensor([shape[1] / mask_shape[1], shape[0] / mask_shape[0]])
    low, high = (visible[:, :2] - 1) * scale, (visible[:, 2:] + 1) * scale
    return clip_boxes_to_image(torch.cat([boxes[:, :2].maximum(low), boxes[:, 2:].minimum(high)], 1), shape)
