"""Resizing that averages when it shrinks and never loses a side."""

from typing import Any

from torch import Tensor
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F


class InferenceTransform(GeneralizedRCNNTransform):
    """torchvision's transform, but at inference pictures are resized as the augmentation does it.

    torchvision's own resizing skips pixels of a large picture, and rounds a thin side down to nothing.
    """

    def __init__(self, plain: GeneralizedRCNNTransform) -> None:
        super().__init__(plain.min_size, plain.max_size, plain.image_mean, plain.image_std)
        self.size_divisible, self.fixed_size = plain.size_divisible, plain.fixed_size
        self._skip_resize = plain._skip_resize

    def resize(self, image: Tensor, target: Any = None) -> tuple[Tensor, Any]:
        if self.training or target is not None or self.fixed_size is not None:
            return super().resize(image, target)
        sides = image.shape[-2:]
        scale = min(self.min_size[-1] / min(sides), self.max_size / max(sides))
        return F.resize_image(image, _at_least_1(side * scale for side in sides)), None


class RandomShortestSize(v2.RandomShortestSize):
    """torchvision's, but a thin picture keeps a pixel."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"size": _at_least_1(super().make_params(flat_inputs)["size"])}


class ScaleJitter(v2.ScaleJitter):
    """torchvision's, but a thin picture keeps a pixel."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"size": _at_least_1(super().make_params(flat_inputs)["size"])}


def _at_least_1(sides: Any) -> list[int]:
    return [max(1, int(side)) for side in sides]
