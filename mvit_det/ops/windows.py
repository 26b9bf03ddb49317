"""Window partition of maps."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def num_windows(length: int, window_size: int) -> int:
    """Return the number of windows that cover ``length`` tokens along an axis."""
    if isinstance(window_size, torch.SymInt):  # in torch.export: global attention has one window
        return 1
    return (length + window_size - 1) // window_size


def count_windows(x: Tensor, window_hw: Sequence[int]) -> int:
    """Return the number of windows in maps (N, H, W, heads, C), over all images and heads."""
    n, map_h, map_w, heads, _ = x.shape
    return n * heads * num_windows(map_h, window_hw[0]) * num_windows(map_w, window_hw[1])


def window_partition(x: Tensor, window_hw: tuple[int, int]) -> Tensor:
    """Split maps into windows that do not overlap, with zero padding at the bottom and the right.

    The padding is not masked: it takes part in the softmax, as in the published models.

    Args:
        x: (N, H, W, heads, C)
        window_hw: height and width of a window, tokens.

    Returns:
        (N, rows of windows, columns of windows, height, width, heads, C)
    """
    n, map_h, map_w, heads, channels = x.shape
    height, width = window_hw
    rows, columns = num_windows(map_h, height), num_windows(map_w, width)
    pad_h, pad_w = rows * height - map_h, columns * width - map_w
    if torch.compiler.is_compiling() or pad_h or pad_w:  # compiled: one graph for every size
        x = F.pad(x, (0, 0, 0, 0, 0, pad_w, 0, pad_h))
    return x.view(n, rows, height, columns, width, heads, channels).transpose(2, 3)


def window_unpartition(windows: Tensor, map_hw: tuple[int, int]) -> Tensor:
    """Undo :func:`window_partition` and remove the padding.

    Args:
        windows: (N, rows of windows, columns of windows, height, width, heads, C)
        map_hw: height H and width W of the map, tokens.

    Returns:
        (N, H, W, heads, C)
    """
    n, rows, columns, height, width, heads, channels = windows.shape
    x = windows.transpose(2, 3).reshape(n, rows * height, columns * width, heads, channels)
    return x[:, : map_hw[0], : map_hw[1]]
