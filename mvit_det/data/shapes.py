"""A generated data set: overlapping shapes on textured backgrounds, in COCO's format."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from mvit_det.data.json_files import write_json
from mvit_det.files import replaced_file

CATEGORIES = ("circle", "square", "triangle")
SIDE = 224  # px
MAX_ROTATION = 20  # degrees from upright
MIN_VISIBLE = 0.6  # fraction of a shape that a later shape must leave visible
NUM_CORNERS = {"circle": 48, "square": 4, "triangle": 3}
UPRIGHT_ANGLE = {"circle": 0, "square": 45, "triangle": 30}  # degrees, of the first corner


def write_shapes(folder: Path, num_train: int, num_val: int, seed: int = 0) -> None:
    """Generate a data set: write ``folder/images``, ``folder/train.json`` and ``folder/val.json``.

    A mask covers the visible part of its shape. The same seed gives the same files.
    """
    random = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for split, num_images in (("train", num_train), ("val", num_val)):
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for image_id in range(1, num_images + 1):
            image, objects = draw_image(random)
            name = f"{split}_{image_id:04d}.png"
            with replaced_file(folder / "images" / name, durable=False) as file:
                Image.fromarray(image).save(file, "PNG")
            images.append({"id": image_id, "file_name": name, "width": SIDE, "height": SIDE})
            for category_id, mask in objects:
                annotation = _annotation(mask) | {"image_id": image_id, "category_id": category_id}
                annotations.append({"id": len(annotations) + 1} | annotation)
        categories = [{"id": i, "name": name} for i, name in enumerate(CATEGORIES, start=1)]
        data = {"images": images, "annotations": annotations, "categories": categories}
        write_json(folder / f"{split}.json", data)


def draw_image(
    random: np.random.Generator,
) -> tuple[NDArray[np.uint8], list[tuple[int, NDArray[np.bool_]]]]:
    """Return a (SIDE, SIDE, 3) RGB image and its objects as (category id, visible mask)."""
    image = _background(random)
    objects: list[tuple[int, NDArray[np.bool_]]] = []
    for _ in range(random.integers(2, 6)):
        category_id = int(random.integers(1, len(CATEGORIES) + 1))
        shape = _shape_mask(random, CATEGORIES[category_id - 1])
        before = [mask for _, mask in objects]
        after = [mask & ~shape for mask in before]
        if any(a.sum() < MIN_VISIBLE * b.sum() for a, b in zip(after, before, strict=True)):
            continue  # the new shape would hide too much of an earlier one
        objects = [(id_, mask) for (id_, _), mask in zip(objects, after, strict=True)]
        objects.append((category_id, shape))
        fill = _fill(random)
        image[shape] = fill[shape]
    return image, objects


def _background(random: np.random.Generator) -> NDArray[np.uint8]:
    """Return a (SIDE, SIDE, 3) image of a dull color with blotches and grain."""
    color = random.uniform(70, 150) + random.uniform(-20, 20, 3)
    coarse = random.normal(0, 20, (SIDE // 16 + 2, SIDE // 16 + 2, 1)).astype(np.float32)
    blotches = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)[..., None]
    grain = random.normal(0, 12, (SIDE, SIDE, 3))
    return (color + blotches + grain).clip(0, 255).astype(np.uint8)


def _fill(random: np.random.Generator) -> NDArray[np.uint8]:
    """Return a (SIDE, SIDE, 3) image of a bright color that darkens from one corner to the opposite one."""
    color = random.permutation([random.uniform(0, 60), random.uniform(0, 255), 255])
    shade = np.linspace(1, random.uniform(0.6, 0.9), 2 * SIDE)
    grain = random.normal(0, 6, (SIDE, SIDE, 3))
    diagonal = np.add.outer(np.arange(SIDE), np.arange(SIDE))
    return (color * shade[diagonal][..., None] + grain).clip(0, 255).astype(np.uint8)


def _shape_mask(random: np.random.Generator, category: str) -> NDArray[np.bool_]:
    """Return the (SIDE, SIDE) mask of a shape of random size, position and rotation."""
    radius = random.uniform(18, 50)
    center = random.uniform(radius, SIDE - radius, 2)
    num_corners = NUM_CORNERS[category]
    first = np.radians(UPRIGHT_ANGLE[category] + random.uniform(-MAX_ROTATION, MAX_ROTATION))
    angles = first + np.arange(num_corners) * (2 * np.pi / num_corners)
    points = center + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillPoly(mask, [points.round().astype(np.int32)], 1)
    return mask.astype(bool)


def _annotation(mask: NDArray[np.bool_]) -> dict[str, Any]:
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {
        "bbox": coco_mask.toBbox(rle).tolist(),
        "area": int(coco_mask.area(rle)),
        "iscrowd": 0,
        "segmentation": {"size": list(mask.shape), "counts": rle["counts"].decode()},
    }
