"""A seeded set of pictures with overlapping shapes on textured ground, as a COCO-format folder."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from mvit_det.coco.results import write_json

CATEGORIES = ("circle", "square", "triangle")
SIDES = (128, 160, 192)  # px; a picture takes two of them
MIN_VISIBLE = 0.3  # share of a shape that others must leave in sight


def write_shapes(folder: Path, num_train: int, num_val: int, seed: int = 0) -> None:
    """Write ``folder/images``, ``folder/train.json`` and ``folder/val.json``.

    Each mask is what is visible of its shape. The same seed writes the same files.
    """
    random = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for split, number in (("train", num_train), ("val", num_val)):
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for image_id in range(1, number + 1):
            picture, objects = draw_picture(random)
            name = f"{split}_{image_id:04d}.png"
            Image.fromarray(picture).save(folder / "images" / name)
            height, width = picture.shape[:2]
            images.append({"id": image_id, "file_name": name, "width": width, "height": height})
            for category_id, mask in objects:
                annotation = _annotation(mask) | {"image_id": image_id, "category_id": category_id}
                annotations.append({"id": len(annotations) + 1} | annotation)
        categories = [{"id": i, "name": name} for i, name in enumerate(CATEGORIES, start=1)]
        data = {"images": images, "annotations": annotations, "categories": categories}
        write_json(folder / f"{split}.json", data)


def draw_picture(
    random: np.random.Generator,
) -> tuple[NDArray[np.uint8], list[tuple[int, NDArray[np.bool_]]]]:
    """Return an (H, W, 3) RGB picture and its objects as (category id, (H, W) visible mask)."""
    height, width = (int(side) for side in random.choice(SIDES, 2))
    picture = _texture(random, height, width)
    objects: list[tuple[int, NDArray[np.bool_]]] = []
    for _ in range(random.integers(2, 7)):
        category_id = int(random.integers(1, len(CATEGORIES) + 1))
        shape = _outline(random, category_id, height, width)
        left = [mask & ~shape for _, mask in objects]
        if any(
            after.sum() < MIN_VISIBLE * before.sum()
            for (_, before), after in zip(objects, left, strict=True)
        ):
            continue  # it would hide another
        objects = [(c, mask) for (c, _), mask in zip(objects, left, strict=True)]
        objects.append((category_id, shape))
        fill = _texture(random, height, width)
        picture[shape] = fill[shape]
    return picture, objects


def _texture(random: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """Return a colour of its own with blotches and grain, (H, W, 3)."""
    colour = random.uniform(30, 225, 3)
    coarse = random.normal(0, 12, (height // 16 + 2, width // 16 + 2, 1)).astype(np.float32)
    blotches = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
    grain = random.normal(0, 6, (height, width, 3))
    return (colour + blotches + grain).clip(0, 255).astype(np.uint8)


def _outline(
    random: np.random.Generator, category_id: int, height: int, width: int
) -> NDArray[np.bool_]:
    radius = random.uniform(10, 32)
    centre = random.uniform(radius, (width - radius, height - radius))
    mask = np.zeros((height, width), np.uint8)
    corners = {"circle": 48, "square": 4, "triangle": 3}[CATEGORIES[category_id - 1]]
    angles = random.uniform(0, 2 * np.pi) + np.arange(corners) * (2 * np.pi / corners)
    points = centre + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
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
