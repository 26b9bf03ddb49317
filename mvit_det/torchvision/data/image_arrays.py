"""Images of several types, tensors included, as arrays."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from mvit_det.data.downloads import is_url
from mvit_det.data.pixels import ImageSource, convert_images, to_pixels
from mvit_det.errors import ImageError

TOLERANCE = 0.01  # by which the values of a float image may leave 0..1, for example after interpolation
ImageLike = ImageSource | Tensor


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
    if not isinstance(image, Tensor):
        return to_pixels(image)
    shape = tuple(image.shape)
    if 0 in shape:
        raise ValueError(f"image {shape}: is empty")
    if len(shape) == 3 and shape[0] == 3 and (image.dtype == torch.uint8 or image.is_floating_point()):
        pixels = image.detach().cpu()
        if pixels.is_floating_point():
            low, high = (float(value) for value in pixels.aminmax())
            if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
                raise ValueError(f"tensor with values from {low:g} to {high:g}: must be in 0..1")
            pixels = F.to_dtype(pixels.clamp(0, 1), torch.uint8, scale=True)
        return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())
    raise ValueError(f"tensor {shape} {image.dtype}: must be (3, H, W), uint8 or float in 0..1")


def to_arrays(images: Iterable[ImageLike]) -> Iterator[NDArray[np.uint8]]:
    """Yield the images of a list as :func:`to_array` does. The message of an error gives the index."""
    return convert_images(to_array, images)
