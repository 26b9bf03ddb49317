"""Random resizing of images and their boxes. Masks keep the resolution of the annotation."""

from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from mvit_det.data.scaling import scaled_shape


class RandomShortestSize(v2.Transform):
    """Resize an image and its boxes to a short side that is drawn from ``short_sides``.

    Masks are not resized, since small objects would lose their outline.

    Args:
        short_sides: the short sides, px.
        long_side: limit on the long side, px.
    """

    def __init__(self, short_sides: tuple[int, ...], long_side: int) -> None:
        super().__init__()
        self.short_sides, self.long_side = short_sides, long_side

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        short_side = draw_one_of(self.short_sides)
        return {"size": scaled_shape(v2.query_size(flat_inputs), short_side, self.long_side)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, tv_tensors.Mask):
            return inpt
        return self._call_kernel(F.resize, inpt, params["size"], antialias=True)


class RandomCrop(v2.Transform):
    """Crop a random region of an image as it would look at a random size.

    The image, its boxes and masks are cropped at their own resolution and not resized. A side of the image
    that is shorter than the drawn region is not cropped.

    Args:
        short_sides: short sides, px; one is drawn. The image is treated as if it had this short side.
        sides: the least and the greatest height and width of the region at this size, px.
    """

    def __init__(self, short_sides: tuple[int, ...], sides: tuple[int, int]) -> None:
        super().__init__()
        self.short_sides, self.sides = short_sides, sides

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        shape = v2.query_size(flat_inputs)
        scale = draw_one_of(self.short_sides) / min(shape)
        return draw_region(shape, [_draw_integer(*self.sides) / scale for _ in shape])

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self._call_kernel(F.crop, inpt, **params)


class LargeScaleJitter(v2.Transform):
    """Scale an image at random relative to a square, and crop the square from the result.

    The crop comes first, at the resolution of the image, so that only the visible part is resized. Masks are
    cropped but not resized.

    Args:
        side: side of the square, px.
        scale_range: minimum and maximum of the scale; at 1, the whole image just fits into the square.

    Source: Copy-Paste, arXiv 2012.07177.
    """

    def __init__(self, side: int, scale_range: tuple[float, float]) -> None:
        super().__init__()
        self.side, self.scale_range = side, scale_range

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        shape = v2.query_size(flat_inputs)
        scale = self.side / max(shape) * float(torch.empty(()).uniform_(*self.scale_range))
        region = draw_region(shape, [self.side / scale] * 2)
        size = [max(1, min(self.side, round(region[name] * scale))) for name in ("height", "width")]
        return {"region": region, "size": size}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        cropped = self._call_kernel(F.crop, inpt, **params["region"])
        if isinstance(inpt, tv_tensors.Mask):
            return cropped
        return self._call_kernel(F.resize, cropped, params["size"], antialias=True)


def draw_region(shape: tuple[int, int], size: list[float]) -> dict[str, int]:
    """Return the position and the size of a random region of at least 1 x 1 px, as ``F.crop`` takes them.

    Args:
        shape: (height, width) of the image, px.
        size: (height, width) of the region, px; limited to the image.
    """
    height, width = (max(1, min(side, round(wanted))) for side, wanted in zip(shape, size, strict=True))
    top, left = _draw_integer(0, shape[0] - height), _draw_integer(0, shape[1] - width)
    return {"top": top, "left": left, "height": height, "width": width}


def draw_one_of(values: tuple[int, ...]) -> int:
    """Return one of the values, each with the same probability."""
    return values[_draw_integer(0, len(values) - 1)]


def _draw_integer(low: int, high: int) -> int:
    return int(torch.randint(low, high + 1, ()))
