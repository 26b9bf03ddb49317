"""Images of several types as arrays."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from mvit_det.data.downloads import is_url
from mvit_det.data.images import read_image, upright_rgb
from mvit_det.errors import ImageError

TOLERANCE = 0.01  # by which the values of a float image may leave 0..1, for example after interpolation
ImageLike = str | Path | Image.Image | NDArray[np.uint8] | Tensor


def to_array(image: ImageLike) -> NDArray[np.uint8]:
    """Return an image as (H, W, 3) RGB.

    Args:
        image: see :meth:`mvit_det.Detector.__call__`.

    Raises:
        ImageError: if a file cannot be read.
        TypeError: for an object of another type.
        ValueError: for an empty image, or an array or a tensor of another shape, dtype or range.
    """
    if isinstance(image, str) and is_url(image):
        raise ImageError(f"{image}: is a URL; expected a file, or use Detector.stream, which reads URLs")
    if isinstance(image, str | Path):
        return np.array(read_image(Path(image)))
    if isinstance(image, Image.Image):
        if 0 in image.size:
            raise ValueError(f"image of {image.width} x {image.height} px: is empty")
        try:
            return np.array(upright_rgb(image))
        except OSError as error:  # Pillow reads the pixels of a file when they are needed
            name = getattr(image, "filename", "") or "image"  # empty if it was opened from memory
            raise ImageError(f"{name}: cannot be read: {error}") from None
    if not isinstance(image, np.ndarray | Tensor):
        kinds = "a path, a PIL image, an array or a tensor, or a list of these"
        raise TypeError(f"image of type {type(image).__name__}: must be {kinds}")
    shape = tuple(image.shape)
    if 0 in shape:
        raise ValueError(f"image {shape}: is empty")
    if isinstance(image, Tensor):
        if len(shape) == 3 and shape[0] == 3 and (image.dtype == torch.uint8 or image.is_floating_point()):
            pixels = image.detach().cpu()
            if pixels.is_floating_point():
                low, high = (float(value) for value in pixels.aminmax())
                if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
                    raise ValueError(f"tensor with values from {low:g} to {high:g}: must be in 0..1")
                pixels = F.to_dtype(pixels.clamp(0, 1), torch.uint8, scale=True)
            return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())
        raise ValueError(f"tensor {shape} {image.dtype}: must be (3, H, W), uint8 or float in 0..1")
    if image.dtype == np.uint8 and len(shape) == 2:
        return np.stack([image] * 3, axis=2)
    if image.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3:
        raise ValueError(f"array {shape} {image.dtype}: must be uint8, (H, W, 3) RGB or (H, W) gray")
    return np.require(image, requirements=["C", "W"])


def to_arrays(images: Iterable[ImageLike]) -> Iterator[NDArray[np.uint8]]:
    """Yield the images of a list as :func:`to_array` does. The message of an error gives the index."""
    for index, image in enumerate(images):
        try:
            yield to_array(image)
        except (TypeError, ValueError) as error:
            raise type(error)(f"images[{index}]: {error}") from None
