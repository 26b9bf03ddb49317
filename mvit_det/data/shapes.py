"""A seeded set of pictures with overlapping shapes on textured ground, as a COCO-format folder."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from mvit_det.data.results import write_json

CATEGORIES = ("circle", "square", "triangle")
SIDE = 224  # px
MAX_TURN = 20  # degrees, from upright
MIN_VISIBLE = 0.6  # share of a shape that others must leave in sight


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
            picture, objects = draw_image(random)
            name = f"{split}_{image_id:04d}.png"
            Image.fromarray(picture).save(folder / "images" / name)
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
    """Return an (SIDE, SIDE, 3) RGB picture and its objects as (category id, visible mask)."""
    picture = _ground(random)
    objects: list[tuple[int, NDArray[np.bool_]]] = []
    for _ in range(random.integers(2, 6)):
        category_id = int(random.integers(1, len(CATEGORIES) + 1))
        shape = _outline(random, category_id)
        left = [mask & ~shape for _, mask in objects]
        if any(
            after.sum() < MIN_VISIBLE * before.sum() for (_, before), after in zip(objects, left, strict=True)
        ):
            continue  # it would hide another
        objects = [(c, mask) for (c, _), mask in zip(objects, left, strict=True)]
        objects.append((category_id, shape))
        fill = _fill(random)
        picture[shape] = fill[shape]
    return picture, objects


def _ground(random: np.random.Generator) -> NDArray[np.uint8]:
    """Return a dull colour with blotches and grain, (H, W, 3)."""
    colour = random.uniform(70, 150) + random.uniform(-20, 20, 3)
    coarse = random.normal(0, 20, (SIDE // 16 + 2, SIDE // 16 + 2, 1)).astype(np.float32)
    blotches = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)[..., None]
    grain = random.normal(0, 12, (SIDE, SIDE, 3))
    return (colour + blotches + grain).clip(0, 255).astype(np.uint8)


def _fill(random: np.random.Generator) -> NDArray[np.uint8]:
    """Return a bright colour that darkens from one corner to the other, with fine grain, (H, W, 3)."""
    colour = random.permutation([random.uniform(0, 60), random.uniform(0, 255), 255])
    shade = np.linspace(1, random.uniform(0.6, 0.9), 2 * SIDE)
    grain = random.normal(0, 6, (SIDE, SIDE, 3))
    across = np.add.outer(np.arange(SIDE), np.arange(SIDE))
    return (colour * shade[across][..., None] + grain).clip(0, 255).astype(np.uint8)


def _outline(random: np.random.Generator, category_id: int) -> NDArray[np.bool_]:
    radius = random.uniform(18, 50)
    centre = random.uniform(radius, SIDE - radius, 2)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    corners, upright = {"circle": (48, 0), "square": (4, 45), "triangle": (3, 30)}[
        CATEGORIES[category_id - 1]
    ]
    turn = np.radians(upright + random.uniform(-MAX_TURN, MAX_TURN))
    angles = turn + np.arange(corners) * (2 * np.pi / corners)
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
