"""Exact attention for GPUs: a Triton kernel for the forward pass, two for the backward; no score is stored.

A program holds a tile of one window's queries and reads the window's keys in whole rows of the map, each
row filled up to a power of two. So a tile's biases, of its queries to rows and to columns, are added to the
scores by broadcasting. Maps are read and written in place: no copy of them is cut up. Scores are in units
of log 2, as a GPU's exponential is.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from mvit_det.backbone.windows import num_windows

# Of a tile, and a program: what fits the registers of compute capability 8.0 and 9.0 with next to no spills.
QUERIES, KEYS, WARPS = 64, 64, 8
# What changes from picture to picture, and should not be compiled for anew.
SIZES = [f"{x}_{what}_{side}" for x in ("q", "kv") for what in ("map", "window") for side in "hw"] + ["heads"]
LOG2_E = tl.constexpr(1.4426950408889634)


def triton_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_h: Tensor | None,
    rel_w: Tensor | None,
    q_window: tuple[int, int],
    kv_window: tuple[int, int],
    residual: bool,
) -> Tensor:
    """:func:`mvit_det.backbone.attend.attend` without storing the scores, forward or backward."""
    q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    bias_h = bias_w = None
    if rel_h is not None and rel_w is not None:
        bias_h = torch.einsum("nhwdc,hkc->nhwdk", q, _repeated(rel_h, q.shape[1])).contiguous()
        bias_w = torch.einsum("nhwdc,wkc->nhwdk", q, _repeated(rel_w, q.shape[2])).contiguous()
    return _forward(q, k, v, bias_h, bias_w, list(q_window), list(kv_window), residual)[0]


def _repeated(rel: Tensor, length: int) -> Tensor:
    """Return the rows of a window's queries, (queries, keys, C), for all queries along the map's side."""
    return rel.repeat(num_windows(length, rel.shape[0]), 1, 1)[:length]


@triton.jit
def _window(parts, q_map, heads):
    """Return this program's part and window: its row and column, the head, all heads and the image."""
    map_h, map_w, window_h, window_w = q_map
    index = tl.program_id(0)
    part, index = index % parts, index // parts
    columns, rows = tl.cdiv(map_w, window_w), tl.cdiv(map_h, window_h)
    column, index = index % columns, index // columns
    row, index = index % rows, index // rows
    return part, (row, column, index % heads, heads, index // heads)


@triton.jit
def _tokens(rows, columns, window, a_map):
    """Return where the tokens at places of a window are stored."""
    map_h, map_w, window_h, window_w = a_map
    row, column, head, heads, image = window
    y, x = row * window_h + rows, column * window_w + columns
    return ((image * map_h + y).to(tl.int64) * map_w + x) * heads + head


@triton.jit
def _on_map(window, a_map):
    """Return the height and the width of the part of a window that is on the map."""
    map_h, map_w, window_h, window_w = a_map
    row, column, _, _, _ = window
    return tl.minimum(window_h, map_h - row * window_h), tl.minimum(window_w, map_w - column * window_w)


@triton.jit
def _queries(first, window, q_map, QUERIES: tl.constexpr):
    """Return the tokens of a tile's queries, and which there are: padding asks nothing."""
    height, width = _on_map(window, q_map)
    places = first + tl.arange(0, QUERIES)
    return _tokens(places // width, places % width, window, q_map), places < height * width


@triton.jit
def _keys(top, window, kv_map, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Return the tokens of a tile's keys, rows of the window from ``top`` on, and which are on the map."""
    height, width = _on_map(window, kv_map)
    places = tl.arange(0, ROWS * COLUMNS)
    rows, columns = top + places // COLUMNS, places % COLUMNS
    return _tokens(rows, columns, window, kv_map), (rows < height) & (columns < width)


@triton.jit
def _load(tensor, tokens, there, C: tl.constexpr, WIDTH: tl.constexpr):
    """Return the channels of tokens, (tokens, WIDTH); zeros for those that are not there."""
    channels = tl.arange(0, WIDTH)
    return tl.load(tensor + tokens[:, None] * C + channels, there[:, None] & (channels < C), other=0.0)


@triton.jit
def _store(tensor, found, tokens, there, first, C, WIDTH: tl.constexpr):
    """Write numbers of tokens, (tokens, WIDTH), of the ``C`` of each those from ``first`` on."""
    places = first + tl.arange(0, WIDTH)
    mask = there[:, None] & (places < C)
    tl.store(tensor + tokens[:, None] * C + places, found.to(tensor.dtype.element_ty), mask)


@triton.jit
def _bias(bias, queries, there, keys, num_keys, ACC: tl.constexpr):
    """Return the biases (queries, keys) to rows or to columns; -inf where these are off the window."""
    found = tl.zeros((queries.shape[0], keys.shape[0]), ACC)
    if bias is not None:
        mask = there[:, None] & (keys < num_keys)
        found = tl.load(bias + queries[:, None] * num_keys + keys, mask, other=0.0).to(ACC) * LOG2_E
    return tl.where(keys < num_keys, found, -float("inf"))


@triton.jit
def _dot(a, b):
    return tl.dot(a, b.to(a.dtype), input_precision="ieee")


@triton.jit
def _scores(q, k, bias_h, bias_w, SCALE: tl.constexpr):
    """Return the scores (queries, keys) of a tile, in units of log 2."""
    bias = bias_h[:, :, None] + bias_w[:, None, :]
    products = _dot(q, tl.trans(k)) * (SCALE * LOG2_E)
    return products + tl.reshape(bias, products.shape)


@triton.jit(do_not_specialize=SIZES)
def _attend(
    q, k, v, bias_h, bias_w, out, log_sums,
    q_map_h, q_map_w, q_window_h, q_window_w, kv_map_h, kv_map_w, kv_window_h, kv_window_w, heads,
    SCALE: tl.constexpr, C: tl.constexpr, WIDTH: tl.constexpr, QUERIES: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr, RESIDUAL: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    q_map = (q_map_h, q_map_w, q_window_h, q_window_w)
    kv_map = (kv_map_h, kv_map_w, kv_window_h, kv_window_w)
    part, window = _window(tl.cdiv(q_window_h * q_window_w, QUERIES), q_map, heads)
    height, width = _on_map(window, q_map)
    if part * QUERIES >= height * width:
        return
    queries, is_query = _queries(part * QUERIES, window, q_map, QUERIES)
    q_tile = _load(q, queries, is_query, C, WIDTH)
    bias_w_tile = _bias(bias_w, queries, is_query, tl.arange(0, COLUMNS), kv_window_w, ACC)

    highest = tl.full((QUERIES,), -float("inf"), ACC)
    total = tl.zeros((QUERIES,), ACC)
    found = tl.zeros((QUERIES, WIDTH), ACC)
    for top in range(0, kv_window_h, ROWS):
        keys, is_key = _keys(top, window, kv_map, ROWS, COLUMNS)
        k_tile, v_tile = _load(k, keys, is_key, C, WIDTH), _load(v, keys, is_key, C, WIDTH)
        bias_h_tile = _bias(bias_h, queries, is_query, top + tl.arange(0, ROWS), kv_window_h, ACC)
        scores = _scores(q_tile, k_tile, bias_h_tile, bias_w_tile, SCALE)
        new_highest = tl.maximum(highest, tl.max(scores, 1))
        weights = tl.exp2(scores - new_highest[:, None])
        shrink = tl.exp2(highest - new_highest)
        found = found * shrink[:, None] + _dot(weights.to(v_tile.dtype), v_tile)
        total = total * shrink + tl.sum(weights, 1)
        highest = new_highest
    found /= total[:, None]
    if RESIDUAL:
        found += q_tile
    _store(out, found, queries, is_query, 0, C, WIDTH)
    tl.store(log_sums + queries, highest + tl.log2(total), is_query)


@triton.jit(do_not_specialize=SIZES)
def _grad_of_queries(
    q, k, v, bias_h, bias_w, out, log_sums, grad, dots, grad_q, grad_bias_h, grad_bias_w,
    q_map_h, q_map_w, q_window_h, q_window_w, kv_map_h, kv_map_w, kv_window_h, kv_window_w, heads,
    SCALE: tl.constexpr, C: tl.constexpr, WIDTH: tl.constexpr, QUERIES: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr, RESIDUAL: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Write the gradients of queries and biases, and each query's product of output and gradient."""
    q_map = (q_map_h, q_map_w, q_window_h, q_window_w)
    kv_map = (kv_map_h, kv_map_w, kv_window_h, kv_window_w)
    part, window = _window(tl.cdiv(q_window_h * q_window_w, QUERIES), q_map, heads)
    height, width = _on_map(window, q_map)
    if part * QUERIES >= height * width:
        return
    queries, is_query = _queries(part * QUERIES, window, q_map, QUERIES)
    q_tile = _load(q, queries, is_query, C, WIDTH)
    grad_tile = _load(grad, queries, is_query, C, WIDTH)
    bias_w_tile = _bias(bias_w, queries, is_query, tl.arange(0, COLUMNS), kv_window_w, ACC)
    log_sum = tl.load(log_sums + queries, is_query, other=0.0)
    attended = _load(out, queries, is_query, C, WIDTH).to(ACC)
    if RESIDUAL:
        attended -= q_tile
    dot = tl.sum(attended * grad_tile, 1)
    tl.store(dots + queries, dot, is_query)

    found = tl.zeros((QUERIES, WIDTH), ACC)
    found_w = tl.zeros((QUERIES, COLUMNS), ACC)
    for top in range(0, kv_window_h, ROWS):
        keys, is_key = _keys(top, window, kv_map, ROWS, COLUMNS)
        k_tile, v_tile = _load(k, keys, is_key, C, WIDTH), _load(v, keys, is_key, C, WIDTH)
        bias_h_tile = _bias(bias_h, queries, is_query, top + tl.arange(0, ROWS), kv_window_h, ACC)
        weights = tl.exp2(_scores(q_tile, k_tile, bias_h_tile, bias_w_tile, SCALE) - log_sum[:, None])
        grad_scores = weights * (_dot(grad_tile, tl.trans(v_tile)) - dot[:, None])
        found += _dot(grad_scores.to(k_tile.dtype), k_tile)
        if grad_bias_h is not None:
            in_rows = tl.reshape(grad_scores, (QUERIES, ROWS, COLUMNS))
            found_w += tl.sum(in_rows, 1)
            _store(grad_bias_h, tl.sum(in_rows, 2), queries, is_query, top, kv_window_h, ROWS)
    found *= SCALE
    if RESIDUAL:
        found += grad_tile
    _store(grad_q, found, queries, is_query, 0, C, WIDTH)
    if grad_bias_w is not None:
        _store(grad_bias_w, found_w, queries, is_query, 0, kv_window_w, COLUMNS)


@triton.jit(do_not_specialize=SIZES)
def _grad_of_keys(
    q, k, v, bias_h, bias_w, log_sums, grad, dots, grad_k, grad_v,
    q_map_h, q_map_w, q_window_h, q_window_w, kv_map_h, kv_map_w, kv_window_h, kv_window_w, heads,
    SCALE: tl.constexpr, C: tl.constexpr, WIDTH: tl.constexpr, QUERIES: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Write the gradients of keys and values; a program holds some rows of a window's keys."""
    q_map = (q_map_h, q_map_w, q_window_h, q_window_w)
    kv_map = (kv_map_h, kv_map_w, kv_window_h, kv_window_w)
    part, window = _window(tl.cdiv(kv_window_h, ROWS), q_map, heads)
    keys, is_key = _keys(part * ROWS, window, kv_map, ROWS, COLUMNS)
    k_tile, v_tile = _load(k, keys, is_key, C, WIDTH), _load(v, keys, is_key, C, WIDTH)
    rows, columns = part * ROWS + tl.arange(0, ROWS), tl.arange(0, COLUMNS)

    found_k = tl.zeros((ROWS * COLUMNS, WIDTH), ACC)
    found_v = tl.zeros((ROWS * COLUMNS, WIDTH), ACC)
    height, width = _on_map(window, q_map)
    for first in range(0, height * width, QUERIES):
        queries, is_query = _queries(first, window, q_map, QUERIES)
        q_tile = _load(q, queries, is_query, C, WIDTH)
        grad_tile = _load(grad, queries, is_query, C, WIDTH)
        bias_h_tile = _bias(bias_h, queries, is_query, rows, kv_window_h, ACC)
        bias_w_tile = _bias(bias_w, queries, is_query, columns, kv_window_w, ACC)
        log_sum = tl.load(log_sums + queries, is_query, other=0.0)
        dot = tl.load(dots + queries, is_query, other=0.0)
        weights = tl.exp2(_scores(q_tile, k_tile, bias_h_tile, bias_w_tile, SCALE) - log_sum[:, None])
        found_v += _dot(tl.trans(weights.to(grad_tile.dtype)), grad_tile)
        grad_scores = weights * (_dot(grad_tile, tl.trans(v_tile)) - dot[:, None])
        found_k += _dot(tl.trans(grad_scores.to(q_tile.dtype)), q_tile)
    _store(grad_k, found_k * SCALE, keys, is_key, 0, C, WIDTH)
    _store(grad_v, found_v, keys, is_key, 0, C, WIDTH)


@torch.library.custom_op("mvit_det::triton_attention", mutates_args=())
def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias_h: Tensor | None,
    bias_w: Tensor | None,
    q_window: list[int],
    kv_window: list[int],
    residual: bool,
) -> tuple[Tensor, Tensor]:
    """Return the output and, for the backward pass, the log2 of each query's sum of weights."""
    out, log_sums = torch.empty_like(q), _log_sums(q)
    sizes, constants = _arguments(q, k, q_window, kv_window)
    parts = triton.cdiv(q_window[0] * q_window[1], QUERIES)
    _attend[(_count_windows(q, q_window) * parts,)](
        q, k, v, bias_h, bias_w, out, log_sums, *sizes, **constants, RESIDUAL=residual,
        num_warps=WARPS, num_stages=2,
    )  # fmt: skip
    return out, log_sums


@torch.library.custom_op("mvit_det::triton_attention_backward", mutates_args=())
def _backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias_h: Tensor | None,
    bias_w: Tensor | None,
    out: Tensor,
    log_sums: Tensor,
    q_window: list[int],
    kv_window: list[int],
    residual: bool,
) -> list[Tensor]:
    """Return the gradients of queries, keys, values and, where there are some, biases."""
    grad, dots = grad.contiguous(), torch.empty_like(log_sums)
    grad_q, grad_k, grad_v = (torch.empty_like(x) for x in (q, k, v))
    grads_bias = [torch.empty_like(bias) for bias in (bias_h, bias_w) if bias is not None]
    sizes, constants = _arguments(q, k, q_window, kv_window)
    windows = _count_windows(q, q_window)
    _grad_of_queries[(windows * triton.cdiv(q_window[0] * q_window[1], QUERIES),)](
        q, k, v, bias_h, bias_w, out, log_sums, grad, dots, grad_q, *(grads_bias or (None, None)), *sizes,
        **constants, RESIDUAL=residual, num_warps=WARPS, num_stages=2,
    )  # fmt: skip
    _grad_of_keys[(windows * triton.cdiv(kv_window[0], constants["ROWS"]),)](
        q, k, v, bias_h, bias_w, log_sums, grad, dots, grad_k, grad_v, *sizes, **constants,
        num_warps=WARPS, num_stages=1,
    )  # fmt: skip
    return [grad_q, grad_k, grad_v, *grads_bias]


def _log_sums(q: Tensor) -> Tensor:
    return q.new_empty(q.shape[:-1], dtype=torch.promote_types(q.dtype, torch.float32))


def _count_windows(q: Tensor, q_window: list[int]) -> int:
    """Return the number of windows of all heads and images."""
    n, map_h, map_w, heads, _ = q.shape
    return n * heads * num_windows(map_h, q_window[0]) * num_windows(map_w, q_window[1])


def _arguments(
    q: Tensor, k: Tensor, q_window: list[int], kv_window: list[int]
) -> tuple[list[int], dict[str, Any]]:
    """Return the values of ``SIZES`` and the constants that all kernels take."""
    channels, columns = q.shape[-1], triton.next_power_of_2(kv_window[1])
    sizes = [*q.shape[1:3], *q_window, *k.shape[1:3], *kv_window, q.shape[3]]
    return sizes, {
        "SCALE": channels**-0.5,
        "C": channels,
        "WIDTH": max(16, triton.next_power_of_2(channels)),
        "QUERIES": QUERIES,
        "ROWS": KEYS // columns,
        "COLUMNS": columns,
        "ACC": tl.float64 if q.dtype == torch.float64 else tl.float32,
    }


@_forward.register_fake
def _(q: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return torch.empty_like(q), _log_sums(q)


@_backward.register_fake
def _(grad: Tensor, *inputs: Any) -> list[Tensor]:
    return [torch.empty_like(x) for x in inputs[:5] if x is not None]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:5], *output)
    ctx.options = inputs[5:]
    ctx.mark_non_differentiable(output[1])


def _autograd_backward(ctx: Any, grad: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    grads = _backward(grad, *ctx.saved_tensors, *ctx.options)
    return *grads, *[None] * (8 - len(grads))


_forward.register_autograd(_autograd_backward, setup_context=_setup_context)
