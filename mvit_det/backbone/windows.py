"""Cut a map into square windows, and put it together again."""

import torch.nn.functional as F
from torch import Tensor


def partition(x: Tensor, window_size: int) -> Tensor:
    """Cut maps into windows that do not overlap, padding with zeros at the bottom and the right.

    (N, H, W, C) -> (N * windows, window_size, window_size, C), the windows of a map row by row.
    The padding is not marked: in the published models it takes part in the softmax.
    """
    n, height, width, channels = x.shape
    pad_h, pad_w = -height % window_size, -width % window_size
    if pad_h or pad_w:
        x = F.pad(x, (0, 0, 0, pad_w, 0, pad_h))
    rows, columns = (height + pad_h) // window_size, (width + pad_w) // window_size
    x = x.reshape(n, rows, window_size, columns, window_size, channels).transpose(2, 3)
    return x.reshape(n * rows * columns, window_size, window_size, channels)


def unpartition(windows: Tensor, map_hw: tuple[int, int]) -> Tensor:
    """Undo :func:`partition`: (N * windows, s, s, C) -> (N, H, W, C) with ``map_hw = (H, W)``."""
    size, channels = windows.shape[1], windows.shape[3]
    height, width = map_hw
    rows, columns = -(-height // size), -(-width // size)
    x = windows.reshape(-1, rows, columns, size, size, channels).transpose(2, 3)
    return x.reshape(-1, rows * size, columns * size, channels)[:, :height, :width]
