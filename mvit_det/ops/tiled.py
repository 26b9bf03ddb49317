"""Exact attention in tiles of scores that stay in a CPU's cache; the backward pass computes them anew.

A tile holds the scores of some windows that lie beside each other or, where one window has too many
scores, of some rows of its queries. Maps are read and written in place: no copy of them is cut up.
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
    if rel_pos is None:  # no keys in the relative positions: heads that are not widened
        rel_pos = RelPos(*(q.new_empty(length, 0, q.shape[-1]) for length in q_window))
    return _forward(q, k, v, *rel_pos, list(q_window), list(kv_window), residual)


class _Group(NamedTuple):
    """Windows beside each other in one image."""

    image: int
    row: int  # of windows
    first: int  # column of windows
    num_windows: int

    def cut(self, x: Tensor, window: list[int]) -> Tensor:
        """Return the group's part of a map (N, H, W, heads, C), filled up: (windows, heads, *window, C)."""
        height, width = window
        part = self.part(x, window)
        missing_h, missing_w = height - part.shape[0], self.num_windows * width - part.shape[1]
        if missing_h or missing_w:
            part = F.pad(part, (0, 0, 0, 0, 0, missing_w, 0, missing_h))
        return part.unflatten(1, (self.num_windows, width)).permute(1, 3, 0, 2, 4)

    def write(self, windows: Tensor, x: Tensor, window: list[int]) -> None:
        """Undo :meth:`cut`: write into the group's part of a map."""
        height, width = window
        part = self.part(x, window)
        windows = windows.view(self.num_windows, -1, height, width, windows.shape[-1]).permute(2, 0, 3, 1, 4)
        part.copy_(windows.flatten(1, 2)[: part.shape[0], : part.shape[1]])

    def part(self, x: Tensor, window: list[int]) -> Tensor:
        """Return the group's part of a map, (rows, columns, heads, C)."""
        (height, width), (top, left) = window, (self.row * window[0], self.first * window[1])
        return x[self.image, top : top + height, left : left + self.num_windows * width]


def _groups(q: Tensor, q_window: list[int], num_keys: int) -> Iterator[_Group]:
    n, map_h, map_w, heads, _ = q.shape
    height, width = q_window
    whole, columns = map_w // width, num_windows(map_w, width)
    together = max(1, cached_elements(q.dtype) // (heads * height * width * num_keys))
    for image in range(n):
        for row in range(num_windows(map_h, height)):
            for first in range(0, whole, together):
                yield _Group(image, row, first, min(together, whole - first))
            if columns > whole:  # the last one holds fewer queries
                yield _Group(image, row, whole, 1)


def _tiles(q: Tensor, count: int, num_keys: int) -> Iterator[tuple[slice, Tensor]]:
    """Yield tiles of a group's queries (height, columns, heads, C): which rows, and these rows' queries.

    The queries are (rows, count, width, heads, C), for ``count`` windows beside each other.
    """
    _, columns, heads, _ = q.shape
    num_rows = max(1, cached_elements(q.dtype) // (columns * heads * num_keys))
    for top in range(0, q.shape[0], num_rows):
        rows = slice(top, top + num_rows)
        yield rows, q[rows].unflatten(1, (count, -1))


def _flat(windows: Tensor) -> Tensor:
    """Return (count, heads, height, width, C) as (count * heads, height * width, C)."""
    return windows.flatten(2, 3).flatten(0, 1)


def _widened_keys(keys: Tensor, with_positions: bool) -> Tensor:
    """Return [k, one-hot row, one-hot column] of windows (count, heads, height, width, C), flat."""
    if with_positions:
        hw = (keys.shape[2], keys.shape[3])
        positions = one_hot_positions(hw, keys.dtype, keys.device).unflatten(0, hw)
        keys = torch.cat([keys, positions.expand(*keys.shape[:2], -1, -1, -1)], dim=-1)
    return _flat(keys)


def _widened_queries(q: Tensor, rel_h: Tensor, rel_w: Tensor) -> tuple[Tensor, Tensor]:
    """Return [q / sqrt(C), q rel_h, q rel_w] of a tile, (count * heads, queries, wide), and q by columns.

    The second, (width, rows * count * heads, C), is what the product with ``rel_w`` needs.
    """
    rows, count, width, heads, channels = q.shape
    keys_h, keys_w = rel_h.shape[1], rel_w.shape[1]
    wide = q.new_empty(count, heads, rows, width, channels + keys_h + keys_w)
    in_map_order = wide.permute(2, 0, 3, 1, 4)  # (rows, count, width, heads, wide)
    scaled, bias_h, bias_w = in_map_order.split([channels, keys_h, keys_w], dim=-1)
    torch.mul(q, channels**-0.5, out=scaled)
    bias_h.copy_(torch.bmm(q.reshape(rows, -1, channels), rel_h.mT).view(bias_h.shape))
    by_columns = q.permute(2, 0, 1, 3, 4).reshape(width, -1, channels)
    bias = torch.bmm(by_columns, rel_w.mT).view(width, rows, count, heads, keys_w)
    bias_w.copy_(bias.permute(1, 2, 0, 3, 4))
    return wide.view(count * heads, rows * width, -1), by_columns


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
        keys = _widened_keys(group.cut(k, kv_window), with_positions=rel_h.shape[1] > 0)
        values = _flat(group.cut(v, kv_window))
        group_out = group.part(out, q_window)
        for rows, tile in _tiles(group.part(q, q_window), group.num_windows, values.shape[1]):
            height, count, width, heads, channels = tile.shape
            queries, _ = _widened_queries(tile, rel_h[rows][:height], rel_w[:width])
            weights = torch.bmm(queries, keys.mT).softmax(-1)  # (count * heads, queries, keys)
            found = torch.bmm(weights, values).view(count, heads, height, width, channels)
            place = group_out[rows].unflatten(1, (count, width))
            place.copy_(found.permute(2, 0, 3, 1, 4))
            if residual:
                place += tile
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
    # The other gradients are sums over tiles, which half precision would round at every step.
    sum_dtype = torch.promote_types(q.dtype, torch.float32)
    grad_rel_h, grad_rel_w = (torch.zeros_like(rel, dtype=sum_dtype) for rel in (rel_h, rel_w))
    for group in _groups(q, q_window, kv_window[0] * kv_window[1]):
        keys = _widened_keys(group.cut(k, kv_window), with_positions=rel_h.shape[1] > 0)
        values = _flat(group.cut(v, kv_window))
        sum_keys, sum_values = (torch.zeros_like(values, dtype=sum_dtype) for _ in range(2))
        group_grad, group_grad_q = group.part(grad, q_window), group.part(grad_q, q_window)
        for rows, tile in _tiles(group.part(q, q_window), group.num_windows, values.shape[1]):
            height, count, width, heads, channels = tile.shape
            table_h, table_w = rel_h[rows][:height], rel_w[:width]
            queries, by_columns = _widened_queries(tile, table_h, table_w)
            weights = torch.bmm(queries, keys.mT).softmax(-1)
            grad_out = group_grad[rows].unflatten(1, (count, width)).permute(1, 3, 0, 2, 4)
            grad_out = grad_out.reshape(count * heads, height * width, channels)

            sum_values += torch.bmm(weights.mT, grad_out)
            grad_scores = torch.bmm(grad_out, values.mT)
            grad_scores = torch.ops.aten._softmax_backward_data(grad_scores, weights, -1, q.dtype)
            sum_keys += torch.bmm(grad_scores.mT, queries[..., :channels])
            wide = torch.bmm(grad_scores, keys).view(count, heads, height, width, -1)
            wide = wide.permute(2, 0, 3, 1, 4)  # (height, count, width, heads, wide)
            scaled, bias_h, bias_w = wide.split([channels, rel_h.shape[1], rel_w.shape[1]], dim=-1)

            bias_h = bias_h.reshape(height, count * width * heads, -1)
            bias_w = bias_w.permute(2, 0, 1, 3, 4).reshape(width, height * count * heads, -1)
            grad_rel_h[rows][:height] += torch.bmm(bias_h.mT, tile.reshape(height, -1, channels))
            grad_rel_w[:width] += torch.bmm(bias_w.mT, by_columns)
            tile_grad = torch.bmm(bias_h, table_h).view(tile.shape).add_(scaled, alpha=channels**-0.5)
            by_columns = torch.bmm(bias_w, table_w).view(width, height, count, heads, channels)
            tile_grad += by_columns.permute(1, 2, 0, 3, 4)
            if residual:
                tile_grad += group_grad[rows].unflatten(1, (count, width))
            group_grad_q[rows].unflatten(1, (count, width)).copy_(tile_grad)
        group.write(sum_keys, grad_k, kv_window)
        group.write(sum_values, grad_v, kv_window)
    return [grad_q, grad_k, grad_v, grad_rel_h.to(q.dtype), grad_rel_w.to(q.dtype)]


register_gradients("tiled_attention", _backward)
