"""Exact attention on CPUs with PyTorch operators, one tile of scores at a time.

A tile fits the cache. It holds the scores of several adjacent windows or, if one window has too many scores,
of a few rows of its queries. The backward pass recomputes the scores.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mvit_det.ops.chunking import cached_elements
from mvit_det.ops.constants import one_hot_positions
from mvit_det.ops.custom_op import empty_grads, operator, register_gradients
from mvit_det.ops.relative_bias import RelPos
from mvit_det.ops.windows import num_windows


def tiled_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_pos: RelPos | None,
    q_window: tuple[int, int],
    kv_window: tuple[int, int],
    residual: bool,
) -> Tensor:
    """Compute :func:`mvit_det.ops.attention.attention` one tile of scores at a time."""
    if rel_pos is None:  # relative positions of no keys add no channels
        rel_pos = RelPos(*(q.new_empty(length, 0, q.shape[-1]) for length in q_window))
    return _forward(q, k, v, *rel_pos, list(q_window), list(kv_window), residual)


class _Group(NamedTuple):
    """Adjacent windows of one image, in one row of windows."""

    image: int
    row: int  # among the rows of windows
    first: int  # column of the first window
    num_windows: int

    def view(self, x: Tensor, window: list[int]) -> Tensor:
        """Return the group's part of a map (N, H, W, heads, C) as a view, (rows, columns, heads, C)."""
        (height, width), (top, left) = window, (self.row * window[0], self.first * window[1])
        return x[self.image, top : top + height, left : left + self.num_windows * width]

    def partition(self, x: Tensor, window: list[int]) -> Tensor:
        """Return the group's windows of a map with zero padding, (windows, heads, height, width, C)."""
        height, width = window
        part = self.view(x, window)
        pad_h, pad_w = height - part.shape[0], self.num_windows * width - part.shape[1]
        if pad_h or pad_w:
            part = F.pad(part, (0, 0, 0, 0, 0, pad_w, 0, pad_h))
        return part.unflatten(1, (self.num_windows, width)).permute(1, 3, 0, 2, 4)

    def unpartition(self, windows: Tensor, x: Tensor, window: list[int]) -> None:
        """Write windows (windows * heads, tokens, C) into the group's part of a map, without the padding."""
        height, width = window
        part = self.view(x, window)
        windows = windows.view(self.num_windows, -1, height, width, windows.shape[-1]).permute(2, 0, 3, 1, 4)
        part.copy_(windows.flatten(1, 2)[: part.shape[0], : part.shape[1]])


def _groups(q: Tensor, q_window: list[int], num_keys: int) -> Iterator[_Group]:
    n, map_h, map_w, heads, _ = q.shape
    height, width = q_window
    full, columns = map_w // width, num_windows(map_w, width)
    group_size = max(1, cached_elements(q.dtype) // (heads * height * width * num_keys))
    for image in range(n):
        for row in range(num_windows(map_h, height)):
            for first in range(0, full, group_size):
                yield _Group(image, row, first, min(group_size, full - first))
            if columns > full:  # the last window has fewer columns of queries
                yield _Group(image, row, full, 1)


def _tiles(q: Tensor, count: int, num_keys: int) -> Iterator[tuple[slice, Tensor]]:
    """Split the queries of a group with ``count`` windows, (height, columns, heads, C), into tiles.

    Yields for each tile a slice of rows, and their queries, (rows, count, width, heads, C).
    """
    _, columns, heads, _ = q.shape
    num_rows = max(1, cached_elements(q.dtype) // (columns * heads * num_keys))
    for top in range(0, q.shape[0], num_rows):
        rows = slice(top, top + num_rows)
        yield rows, q[rows].unflatten(1, (count, -1))


def _flatten(windows: Tensor) -> Tensor:
    """(count, heads, height, width, C) -> (count * heads, height * width, C)"""
    return windows.flatten(2, 3).flatten(0, 1)


def _extend_keys(keys: Tensor, with_positions: bool) -> Tensor:
    """Return [k, one-hot row, one-hot column] for windows of keys, see :mod:`mvit_det.ops.attention`.

    (count, heads, height, width, C) -> (count * heads, keys, C + height + width)
    """
    if with_positions:
        hw = (keys.shape[2], keys.shape[3])
        positions = one_hot_positions(hw, keys.dtype, keys.device).unflatten(0, hw)
        keys = torch.cat([keys, positions.expand(*keys.shape[:2], -1, -1, -1)], dim=-1)
    return _flatten(keys)


def _extend_queries(q: Tensor, rel_h: Tensor, rel_w: Tensor) -> tuple[Tensor, Tensor]:
    """Return [q / sqrt(C), q rel_h, q rel_w] for a tile of queries, and the queries with columns first.

    (rows, count, width, heads, C) -> (count * heads, queries, C + height + width) and
    (width, rows * count * heads, C), the layout for products with ``rel_w``.
    """
    rows, count, width, heads, channels = q.shape
    keys_h, keys_w = rel_h.shape[1], rel_w.shape[1]
    extended = q.new_empty(count, heads, rows, width, channels + keys_h + keys_w)
    in_map_order = extended.permute(2, 0, 3, 1, 4)  # (rows, count, width, heads, C + height + width)
    scaled, bias_h, bias_w = in_map_order.split([channels, keys_h, keys_w], dim=-1)
    torch.mul(q, channels**-0.5, out=scaled)
    bias_h.copy_(torch.bmm(q.reshape(rows, -1, channels), rel_h.mT).view(bias_h.shape))
    columns_first = q.permute(2, 0, 1, 3, 4).reshape(width, -1, channels)
    bias = torch.bmm(columns_first, rel_w.mT).view(width, rows, count, heads, keys_w)
    bias_w.copy_(bias.permute(1, 2, 0, 3, 4))
    return extended.view(count * heads, rows * width, -1), columns_first


def _empty_out(q: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(q)


@operator("tiled_attention", _empty_out)
def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_h: Tensor,
    rel_w: Tensor,
    q_window: list[int],
    kv_window: list[int],
    residual: bool,
) -> Tensor:
    out = torch.empty_like(q)
    for group in _groups(q, q_window, kv_window[0] * kv_window[1]):
        keys = _extend_keys(group.partition(k, kv_window), with_positions=rel_h.shape[1] > 0)
        values = _flatten(group.partition(v, kv_window))
        group_out = group.view(out, q_window)
        for rows, tile in _tiles(group.view(q, q_window), group.num_windows, values.shape[1]):
            height, count, width, heads, channels = tile.shape
            queries, _ = _extend_queries(tile, rel_h[rows][:height], rel_w[:width])
            weights = torch.bmm(queries, keys.mT).softmax(-1)  # (count * heads, queries, keys)
            attended = torch.bmm(weights, values).view(count, heads, height, width, channels)
            tile_out = group_out[rows].unflatten(1, (count, width))
            tile_out.copy_(attended.permute(2, 0, 3, 1, 4))
            if residual:
                tile_out += tile
    return out


@operator("tiled_attention_backward", empty_grads)
def _backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_h: Tensor,
    rel_w: Tensor,
    q_window: list[int],
    kv_window: list[int],
    residual: bool,
) -> list[Tensor]:
    grad_q, grad_k, grad_v = (torch.empty_like(x) for x in (q, k, v))
    # The other gradients are accumulated over tiles, in float32 at least.
    sum_dtype = torch.promote_types(q.dtype, torch.float32)
    grad_rel_h, grad_rel_w = (torch.zeros_like(rel, dtype=sum_dtype) for rel in (rel_h, rel_w))
    for group in _groups(q, q_window, kv_window[0] * kv_window[1]):
        keys = _extend_keys(group.partition(k, kv_window), with_positions=rel_h.shape[1] > 0)
        values = _flatten(group.partition(v, kv_window))
        sum_keys, sum_values = (torch.zeros_like(values, dtype=sum_dtype) for _ in range(2))
        group_grad, group_grad_q = group.view(grad, q_window), group.view(grad_q, q_window)
        for rows, tile in _tiles(group.view(q, q_window), group.num_windows, values.shape[1]):
            height, count, width, heads, channels = tile.shape
            tile_rel_h, tile_rel_w = rel_h[rows][:height], rel_w[:width]
            queries, columns_first = _extend_queries(tile, tile_rel_h, tile_rel_w)
            weights = torch.bmm(queries, keys.mT).softmax(-1)
            grad_out = group_grad[rows].unflatten(1, (count, width)).permute(1, 3, 0, 2, 4)
            grad_out = grad_out.reshape(count * heads, height * width, channels)

            sum_values += torch.bmm(weights.mT, grad_out)
            grad_scores = torch.bmm(grad_out, values.mT)
            grad_scores = torch.ops.aten._softmax_backward_data(grad_scores, weights, -1, q.dtype)
            sum_keys += torch.bmm(grad_scores.mT, queries[..., :channels])
            grad_extended = torch.bmm(grad_scores, keys).view(count, heads, height, width, -1)
            grad_extended = grad_extended.permute(2, 0, 3, 1, 4)  # (height, count, width, heads, ...)
            sizes = [channels, rel_h.shape[1], rel_w.shape[1]]
            grad_scaled, grad_bias_h, grad_bias_w = grad_extended.split(sizes, dim=-1)

            grad_bias_h = grad_bias_h.reshape(height, count * width * heads, -1)
            grad_bias_w = grad_bias_w.permute(2, 0, 1, 3, 4).reshape(width, height * count * heads, -1)
            grad_rel_h[rows][:height] += torch.bmm(grad_bias_h.mT, tile.reshape(height, -1, channels))
            grad_rel_w[:width] += torch.bmm(grad_bias_w.mT, columns_first)
            grad_tile = torch.bmm(grad_bias_h, tile_rel_h).view(tile.shape)
            grad_tile.add_(grad_scaled, alpha=channels**-0.5)
            from_bias_w = torch.bmm(grad_bias_w, tile_rel_w).view(width, height, count, heads, channels)
            grad_tile += from_bias_w.permute(1, 2, 0, 3, 4)
            if residual:
                grad_tile += group_grad[rows].unflatten(1, (count, width))
            group_grad_q[rows].unflatten(1, (count, width)).copy_(grad_tile)
        group.unpartition(sum_keys, grad_k, kv_window)
        group.unpartition(sum_values, grad_v, kv_window)
    return [grad_q, grad_k, grad_v, grad_rel_h.to(q.dtype), grad_rel_w.to(q.dtype)]


register_gradients("tiled_attention", _backward)
