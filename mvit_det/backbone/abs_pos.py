"""Absolute positions, resized to the size of the map."""

import torch
import torch.nn.functional as F
from torch import Tensor


def absolute_positions(table: Tensor, map_hw: tuple[int, int], has_class_token: bool) -> Tensor:
    """Return the positions of a map, resized (bicubic) if the table has another size.

    Args:
        table: (1, side * side, C), or (1, 1 + side * side, C) with the position of a class token first; laid
            out row by row on a square.
        map_hw: height and width of the map, tokens.
        has_class_token: whether the table begins with the position of a class token, which is skipped.

    Returns:
        (1, h, w, C)
    """
    positions = table[:, 1:] if has_class_token else table
    side = round(positions.shape[1] ** 0.5)
    positions = positions.unflatten(1, (side, side))  # (1, side, side, C)
    if not torch.compiler.is_compiling() and tuple(map_hw) == (side, side):
        return positions
    resized = F.interpolate(positions.permute(0, 3, 1, 2), size=map_hw, mode="bicubic")
    return resized.permute(0, 2, 3, 1)
