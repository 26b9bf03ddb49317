"""The images and objects that detectors are measured on."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from mvit_det.errors import InputError

NUM_OBJECTS = 20  # in each image
NUM_CLASSES = 80
NUM_VERTICES = 24  # of the polygon of an object


class Sample(NamedTuple):
    """An image and its objects."""

    pixels: Tensor  # uint8 (3, H, W), RGB
    boxes: Tensor  # (K, 4) XYXY in px
    classes: Tensor  # (K,) from 0
    polygons: list[list[float]]  # of each object, [x, y, x, y, ...] in px

    def masks(self) -> Tensor:
        """Return the masks of the objects, uint8 (K, H, W)."""
        height, width = self.pixels.shape[1:]
        masks = [Image.new("L", (width, height)) for _ in self.polygons]
        for mask, polygon in zip(masks, self.polygons, strict=True):
            ImageDraw.Draw(mask).polygon(polygon, fill=1)
        return torch.from_numpy(np.stack([np.array(mask) for mask in masks]))


def make_samples(batch: int, height: int, width: int, path: Path | None = None) -> list[Sample]:
    """Return images with ellipses as objects, the same ones in each call.

    Args:
        batch: number of images.
        height: height of the images, px.
        width: width of the images, px.
        path: an image file, which is scaled to the size; the images of a batch are this image shifted by
            different widths, and the ellipses are not drawn. With None, they are drawn on noise.

    Raises:
        InputError: if the file cannot be read.
    """
    random = np.random.default_rng(0)
    background = _read(path, height, width) if path else random.integers(0, 256, (height, width, 3), np.uint8)
    samples = []
    for number in range(batch):
        image = Image.fromarray(np.roll(background, number * width // batch, axis=1))
        boxes, polygons = [], []
        for _ in range(NUM_OBJECTS):
            rx, ry = (side * random.uniform(0.02, 0.2) for side in (width, height))
            x, y = random.uniform(rx, width - rx), random.uniform(ry, height - ry)
            angles = [2 * math.pi * vertex / NUM_VERTICES for vertex in range(NUM_VERTICES)]
            polygons.append([value for a in angles for value in (x + rx * math.cos(a), y + ry * math.sin(a))])
            boxes.append([x - rx, y - ry, x + rx, y + ry])
            if not path:
                ImageDraw.Draw(image).polygon(polygons[-1], fill=tuple(random.integers(0, 256, 3).tolist()))
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
        classes = torch.from_numpy(random.integers(0, NUM_CLASSES, NUM_OBJECTS))
        samples.append(Sample(pixels, torch.tensor(boxes, dtype=torch.float32), classes, polygons))
    return samples


def _read(path: Path, height: int, width: int) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            return np.array(image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR))
    except OSError as error:
        raise InputError(f"image {path}: cannot be read ({error})") from error
