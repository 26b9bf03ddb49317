"""Cut a map into square windows, and put it together again."""

import torch.nn.functional as F
from torch import Tensor


def num_windows(length: int, window_size: int) -> int:
    """Return how many windows cover a side of a map."""
    return (length + window_size - 1) // window_size


def partition(x: Tensor, window_size: int) -> Tensor:
    """Cut maps into windows that do not overlap, padding with zeros at the bottom and the right.

    (N, H, W, C) -> (N * windows, window_size, window_size, C), the windows of a map row by row.
    The padding is not marked: in the published models it takes part in the softmax.
    """
    n, height, width, channels = x.shape
    rows, columns = num_windows(height, window_size), num_windows(width, window_size)
    pad_h, pad_w = rows * window_size - height, columns * window_size - width
    if pad_h or pad_w:
        x = F.pad(x, (0, 0, 0, pad_w, 0, pad_h))
    x = x.reshape(n, rows, window_size, columns, window_size, channels).transpose(2, 3)
    return x.reshape(n * rows * columns, window_size, window_size, channels)


def unpartition(windows: Tensor, map_hw: tuple[int, int]) -> Tensor:
    """Undo :func:`partition`: (N * windows, s, s, C) -> (N, H, W, C) with ``map_hw = (H, W)``."""
    size, channels = windows.shape[1], windows.shape[3]
    height, width = map_hw
    rows, columns = num_windows(height, size), num_windows(width, size)
    x = windows.reshape(-1, rows, columns, size, size, channels).transpose(2, 3)
    return x.reshape(-1, rows * size, columns * size, channels)[:, :height, :width]
