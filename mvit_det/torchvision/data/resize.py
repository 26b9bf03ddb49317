"""Resizing for training that never reduces a side to nothing."""

from typing import Any

from torchvision.transforms import v2


class RandomShortestSize(v2.RandomShortestSize):
    """torchvision's transform, except that no side of the result is less than 1 px."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"size": _at_least_1(super().make_params(flat_inputs)["size"])}


class ScaleJitter(v2.ScaleJitter):
    """torchvision's transform, except that no side of the result is less than 1 px."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"size": _at_least_1(super().make_params(flat_inputs)["size"])}


def _at_least_1(sides: Any) -> list[int]:
    return [max(1, int(side)) for side in sides]
