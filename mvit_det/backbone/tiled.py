"""Exact attention in tiles of scores that stay in a CPU's cache; the backward pass computes them anew.

A tile holds some windows of one row of windows or, where one window has too many scores, some rows of
its queries. It reads the queries where they lie in the map, and writes the output to its place there.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mvit_det.backbone.rel_pos import one_hot_positions
from mvit_det.backbone.windows import partition, unpartition

MAX_SCORES = 2**21  # of a tile


def tiled(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_h: Tensor | None,
    rel_w: Tensor | None,
    q_window: tuple[int, int],
    kv_window: tuple[int, int],
) -> Tensor:
    """:func:`mvit_det.backbone.attend.attend` without storing the scores, forward or backward."""
    if rel_h is None or rel_w is None:  # no keys in the tables: heads that are not widened
        rel_h, rel_w = (q.new_empty(length, 0, q.shape[-1]) for length in q_window)
    return _forward(q, k, v, rel_h, rel_w, list(q_window), list(kv_window))


class _Tile(NamedTuple):
    image: int
    window_row: int
    window_columns: slice
    rows: slice  # of the map
    columns: slice  # of the map
    width: int  # of a window, less at the right of the map
    first_row: int  # of the queries, in their window

    def view(self, x: Tensor) -> Tensor:
        """Return the tile's part of a map (N, H, W, heads, C): (rows, windows, width, heads, C)."""
        return x[self.image, self.rows, self.columns].unflatten(1, (-1, self.width))

    def keys(self, x: Tensor) -> Tensor:
        """Return its windows' part of (N, rows, columns, heads, keys, C): (windows * heads, keys, C)."""
        return x[self.image, self.window_row, self.window_columns].flatten(0, 1)

    def tables(self, rel_h: Tensor, rel_w: Tensor) -> tuple[Tensor, Tensor]:
        num_rows = self.rows.stop - self.rows.start
        return rel_h[self.first_row : self.first_row + num_rows], rel_w[: self.width]


def _tiles(q: Tensor, q_window: list[int], num_keys: int) -> Iterator[_Tile]:
    n, map_h, map_w, heads, _ = q.shape
    height, width = q_window
    whole = map_w // width  # windows beside each other
    together = max(1, MAX_SCORES // (height * width * heads * num_keys))
    spans = [(x, min(x + together, whole), width) for x in range(0, whole, together)]
    if map_w % width:
        spans.append((whole, whole + 1, map_w % width))
    for image in range(n):
        for top in range(0, map_h, height):
            bottom = min(top + height, map_h)
            for first, last, part in spans:
                num_rows = max(1, MAX_SCORES // ((last - first) * part * heads * num_keys))
                columns = slice(first * width, (last - 1) * width + part)
                for y in range(top, bottom, num_rows):
                    rows = slice(y, min(y + num_rows, bottom))
                    yield _Tile(image, top // height, slice(first, last), rows, columns, part, y - top)


def _windows(x: Tensor, window: list[int]) -> Tensor:
    """Cut a map (N, H, W, heads, C) into windows (N, rows, columns, heads, tokens, C)."""
    return partition(x, (window[0], window[1])).flatten(4, 5)


def _widened_keys(k: Tensor, window: list[int], with_positions: bool) -> Tensor:
    """Return [k, one-hot row, one-hot column], cut into windows."""
    keys = _windows(k, window)
    if not with_positions:
        return keys
    positions = one_hot_positions((window[0], window[1]), k.dtype, k.device)
    return torch.cat([keys, positions.expand(*keys.shape[:-1], -1)], dim=-1)


def _widened_queries(q: Tensor, rel_h: Tensor, rel_w: Tensor) -> tuple[Tensor, Tensor]:
    """Return [q / sqrt(C), q rel_h, q rel_w] of a tile, (windows * heads, queries, wide), and q by columns.

    The second, (width, rows * windows * heads, C), is what the product with ``rel_w`` needed.
    """
    rows, windows, width, heads, channels = q.shape
    keys_h, keys_w = rel_h.shape[1], rel_w.shape[1]
    wide = q.new_empty(windows, heads, rows, width, channels + keys_h + keys_w)
    in_map_order = wide.permute(2, 0, 3, 1, 4)  # (rows, windows, width, heads, wide)
    scaled, bias_h, bias_w = in_map_order.split([channels, keys_h, keys_w], dim=-1)
    torch.mul(q, channels**-0.5, out=scaled)
    bias_h.copy_(torch.bmm(q.reshape(rows, -1, channels), rel_h.mT).view(bias_h.shape))
    by_columns = q.permute(2, 0, 1, 3, 4).reshape(width, -1, channels)
    bias = torch.bmm(by_columns, rel_w.mT).view(width, rows, windows, heads, keys_w)
    bias_w.copy_(bias.permute(1, 2, 0, 3, 4))
    return wide.view(windows * heads, rows * width, -1), by_columns


@torch.library.custom_op("mvit_det::tiled_attention", mutates_args=())
def _forward(
    q: Tensor, k: Tensor, v: Tensor, rel_h: Tensor, rel_w: Tensor, q_window: list[int], kv_window: list[int]
) -> Tensor:
    keys = _widened_keys(k, kv_window, with_positions=rel_h.shape[1] > 0)
    values = _windows(v, kv_window)
    out = torch.empty_like(q)
    for tile in _tiles(q, q_window, values.shape[-2]):
        rows, windows, width, heads, channels = tile.view(q).shape
        queries, _ = _widened_queries(tile.view(q), *tile.tables(rel_h, rel_w))
        weights = torch.bmm(queries, tile.keys(keys).mT).softmax(-1)  # (windows * heads, queries, keys)
        found = torch.bmm(weights, tile.keys(values)).view(windows, heads, rows, width, channels)
        tile.view(out).copy_(found.permute(2, 0, 3, 1, 4))
    return out


@torch.library.custom_op("mvit_det::tiled_attention_backward", mutates_args=())
def _backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_h: Tensor,
    rel_w: Tensor,
    q_window: list[int],
    kv_window: list[int],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    keys = _widened_keys(k, kv_window, with_positions=rel_h.shape[1] > 0)
    values = _windows(v, kv_window)
    grad_q = torch.empty_like(q)
    # Each is a sum over tiles, which half precision would round at every step.
    sum_dtype = torch.promote_types(q.dtype, torch.float32)
    grad_k, grad_v = (torch.zeros(values.shape, dtype=sum_dtype) for _ in range(2))
    grad_rel_h, grad_rel_w = (torch.zeros(rel.shape, dtype=sum_dtype) for rel in (rel_h, rel_w))
    for tile in _tiles(q, q_window, values.shape[-2]):
        tile_q, table_h, table_w = tile.view(q), *tile.tables(rel_h, rel_w)
        rows, windows, width, heads, channels = tile_q.shape
        queries, q_by_columns = _widened_queries(tile_q, table_h, table_w)
        weights = torch.bmm(queries, tile.keys(keys).mT).softmax(-1)
        grad_out = tile.view(grad).permute(1, 3, 0, 2, 4).reshape(windows * heads, rows * width, channels)

        tile.keys(grad_v).add_(torch.bmm(weights.mT, grad_out))
        grad_weights = torch.bmm(grad_out, tile.keys(values).mT)
        grad_scores = torch.ops.aten._softmax_backward_data(grad_weights, weights, -1, q.dtype)
        tile.keys(grad_k).add_(torch.bmm(grad_scores.mT, queries[..., :channels]))
        wide = torch.bmm(grad_scores, tile.keys(keys)).view(windows, heads, rows, width, -1)
        wide = wide.permute(2, 0, 3, 1, 4)  # (rows, windows, width, heads, wide)
        scaled, bias_h, bias_w = wide.split([channels, rel_h.shape[1], rel_w.shape[1]], dim=-1)

        bias_h = bias_h.reshape(rows, windows * width * heads, -1)
        bias_w = bias_w.permute(2, 0, 1, 3, 4).reshape(width, rows * windows * heads, -1)
        sum_h, sum_w = tile.tables(grad_rel_h, grad_rel_w)
        sum_h.add_(torch.bmm(bias_h.mT, tile_q.reshape(rows, -1, channels)))
        sum_w.add_(torch.bmm(bias_w.mT, q_by_columns))
        tile_grad = torch.add(torch.bmm(bias_h, table_h).view(tile_q.shape), scaled, alpha=channels**-0.5)
        by_columns = torch.bmm(bias_w, table_w).view(width, rows, windows, heads, channels)
        torch.add(tile_grad, by_columns.permute(1, 2, 0, 3, 4), out=tile.view(grad_q))
    grad_k, grad_v = (_joined(windows, kv_window, k) for windows in (grad_k, grad_v))
    return grad_q, grad_k, grad_v, grad_rel_h.to(q.dtype), grad_rel_w.to(q.dtype)


def _joined(windows: Tensor, window: list[int], like: Tensor) -> Tensor:
    """Undo :func:`_windows`, in the dtype of the map ``like``."""
    joined = unpartition(windows.unflatten(4, window), (like.shape[1], like.shape[2]))
    return joined.to(like.dtype).contiguous()


@_forward.register_fake
def _(q: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(q)


@_backward.register_fake
def _(grad: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(tensor) for tensor in inputs[:5])


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:5])
    ctx.windows = inputs[5:]


def _autograd_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return *_backward(grad, *ctx.saved_tensors, *ctx.windows), None, None


_forward.register_autograd(_autograd_backward, setup_context=_setup_context)
