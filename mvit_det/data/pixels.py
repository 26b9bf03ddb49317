"""Images of several types as arrays of pixels."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mvit_det.data.images import read_image, upright_rgb
from mvit_det.errors import ImageError

T = TypeVar("T")
ImageSource = str | Path | Image.Image | NDArray[np.uint8]


def to_pixels(image: ImageSource) -> NDArray[np.uint8]:
    """Return an image as (H, W, 3) RGB. Files and PIL images are rotated by their EXIF orientation.

    Args:
        image: a path, a PIL image, or a uint8 (H, W, 3) RGB or (H, W) gray array.

    Raises:
        ImageError: if a file cannot be read.
        TypeError: for an object of another type.
        ValueError: for an empty image, or an array of another shape or dtype.
    """
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
    if not isinstance(image, np.ndarray):
        raise TypeError(f"image of type {type(image).__name__}: must be a path, a PIL image or an array")
    if 0 in image.shape:
        raise ValueError(f"image {image.shape}: is empty")
    if image.dtype == np.uint8 and image.ndim == 2:
        return np.stack([image] * 3, axis=2)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"array {image.shape} {image.dtype}: must be uint8, (H, W, 3) RGB or (H, W) gray")
    return np.require(image, requirements=["C", "W"])


def convert_images(
    convert: Callable[[T], NDArray[np.uint8]], images: Iterable[T]
) -> Iterator[NDArray[np.uint8]]:
    """Yield the results of a function for the images of a list. The message of an error gives the index."""
    for index, image in enumerate(images):
        try:
            yield convert(image)
        except (TypeError, ValueError) as error:
            raise type(error)(f"images[{index}]: {error}") from None
