"""What a GPU does for attention: a program per tile of queries, or in :func:`grad_keys_kernel` of keys.

A program reads the keys of a window in whole rows of the map, each row filled up to a power of two. So a
tile's biases, of its queries to rows and to columns, are added to the scores by broadcasting. Maps are read
and written in place: no copy of them is cut up. Scores are in units of log 2, as a GPU's exponential is.

Maps are (N, H, W, heads, C); ``lse`` and ``delta`` (N, H, W, heads). Biases are as products with relative
positions give them: ``bias_h`` (N, H, W, heads, rows of keys), ``bias_w`` (W, heads, N, H, columns of keys).
Source: FlashAttention-2, arXiv 2307.08691, algorithms 1 and 2, with the biases added to each tile.
"""

import triton
import triton.language as tl

from mvit_det.ops.triton.tiles import (
    add_weighted,
    added,
    load,
    multiply,
    on_map,
    scaled,
    store,
    store_channels,
    this_window,
    tile_of_keys,
    tile_of_queries,
    zeros,
)

LOG2_E = tl.constexpr(1.4426950408889634)
# Sizes of maps and windows, and the number of heads and of images: what is compiled serves all.
SIZES = [f"{x}_{what}_{side}" for x in ("q", "kv") for what in ("map", "window") for side in "hw"]
SIZES += ["heads", "images"]


@triton.jit
def _bias(bias, queries, there, keys, num_keys, ACC: tl.constexpr):
    """Return the biases (queries, keys) to rows or to columns; -inf where these are off the window."""
    found = tl.zeros((queries.shape[0], keys.shape[0]), ACC)
    if bias is not None:
        mask = there[:, None] & (keys < num_keys)
        found = tl.load(bias + queries[:, None] * num_keys + keys, mask, other=0.0).to(ACC) * LOG2_E
    return tl.where(keys < num_keys, found, -float("inf"))


@triton.jit
def _scores(q, k, bias_h, bias_w, SCALE: tl.constexpr):
    """Return the scores (queries, keys) of a tile, in units of log 2."""
    bias = bias_h[:, :, None] + bias_w[:, None, :]
    products = multiply(q, k) * (SCALE * LOG2_E)
    return products + tl.reshape(bias, products.shape)


@triton.jit(do_not_specialize=SIZES)
def attention_kernel(
    q, k, v, bias_h, bias_w, out, attended, lse,
    q_map_h, q_map_w, q_window_h, q_window_w, kv_map_h, kv_map_w, kv_window_h, kv_window_w, heads, images,
    SCALE: tl.constexpr, C: tl.constexpr, C_1: tl.constexpr, C_2: tl.constexpr, QUERIES: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Write the output of a tile of queries and the log-sum-exp of its scores.

    With ``attended`` the queries are added to the output; there it is written without them.
    """
    q_map = (q_map_h, q_map_w, q_window_h, q_window_w)
    kv_map = (kv_map_h, kv_map_w, kv_window_h, kv_window_w)
    part, window = this_window(tl.cdiv(q_window_h * q_window_w, QUERIES), q_map, heads)
    height, width = on_map(window, q_map)
    if part * QUERIES >= height * width:
        return
    queries, is_query, queries_w = tile_of_queries(part * QUERIES, window, q_map, images, QUERIES)
    q_tile = load(q, queries, is_query, C, C_1, C_2)
    bias_w_tile = _bias(bias_w, queries_w, is_query, tl.arange(0, COLUMNS), kv_window_w, ACC)

    row_max = tl.full((QUERIES,), -float("inf"), ACC)
    row_sum = tl.zeros((QUERIES,), ACC)
    acc = zeros(QUERIES, C_1, C_2, ACC)
    for top in range(0, kv_window_h, ROWS):
        keys, is_key = tile_of_keys(top, window, kv_map, ROWS, COLUMNS)
        k_tile, v_tile = load(k, keys, is_key, C, C_1, C_2), load(v, keys, is_key, C, C_1, C_2)
        bias_h_tile = _bias(bias_h, queries, is_query, top + tl.arange(0, ROWS), kv_window_h, ACC)
        scores = _scores(q_tile, k_tile, bias_h_tile, bias_w_tile, SCALE)
        new_max = tl.maximum(row_max, tl.max(scores, 1))
        weights = tl.exp2(scores - new_max[:, None])
        rescale = tl.exp2(row_max - new_max)
        acc = add_weighted(scaled(acc, rescale[:, None]), weights, v_tile)
        row_sum = row_sum * rescale + tl.sum(weights, 1)
        row_max = new_max
    acc = scaled(acc, 1 / row_sum[:, None])
    if attended is not None:
        store_channels(attended, acc, queries, is_query, C)
        acc = added(acc, q_tile)
    store_channels(out, acc, queries, is_query, C)
    tl.store(lse + queries, row_max + tl.log2(row_sum), is_query)


@triton.jit(do_not_specialize=SIZES)
def grad_queries_kernel(
    q, k, v, bias_h, bias_w, attended, lse, grad, delta, grad_q, grad_bias_h, grad_bias_w,
    q_map_h, q_map_w, q_window_h, q_window_w, kv_map_h, kv_map_w, kv_window_h, kv_window_w, heads, images,
    SCALE: tl.constexpr, C: tl.constexpr, C_1: tl.constexpr, C_2: tl.constexpr, QUERIES: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, ACC: tl.constexpr, RESIDUAL: tl.constexpr,
):  # fmt: skip
    """Write the gradients of a tile of queries and its biases, and delta: sums of attended times gradient."""
    q_map = (q_map_h, q_map_w, q_window_h, q_window_w)
    kv_map = (kv_map_h, kv_map_w, kv_window_h, kv_window_w)
    part, window = this_window(tl.cdiv(q_window_h * q_window_w, QUERIES), q_map, heads)
    height, width = on_map(window, q_map)
    if part * QUERIES >= height * width:
        return
    queries, is_query, queries_w = tile_of_queries(part * QUERIES, window, q_map, images, QUERIES)
    q_tile = load(q, queries, is_query, C, C_1, C_2)
    grad_tile = load(grad, queries, is_query, C, C_1, C_2)
    bias_w_tile = _bias(bias_w, queries_w, is_query, tl.arange(0, COLUMNS), kv_window_w, ACC)
    lse_tile = tl.load(lse + queries, is_query, other=0.0)
    attended_tile = load(attended, queries, is_query, C, C_1, C_2)
    delta_tile = tl.sum(attended_tile[0].to(ACC) * grad_tile[0], 1)
    delta_tile += tl.sum(attended_tile[1].to(ACC) * grad_tile[1], 1)
    tl.store(delta + queries, delta_tile, is_query)

    acc = zeros(QUERIES, C_1, C_2, ACC)
    acc_w = tl.zeros((QUERIES, COLUMNS), ACC)
    for top in range(0, kv_window_h, ROWS):
        keys, is_key = tile_of_keys(top, window, kv_map, ROWS, COLUMNS)
        k_tile, v_tile = load(k, keys, is_key, C, C_1, C_2), load(v, keys, is_key, C, C_1, C_2)
        bias_h_tile = _bias(bias_h, queries, is_query, top + tl.arange(0, ROWS), kv_window_h, ACC)
        weights = tl.exp2(_scores(q_tile, k_tile, bias_h_tile, bias_w_tile, SCALE) - lse_tile[:, None])
        grad_scores = weights * (multiply(grad_tile, v_tile) - delta_tile[:, None])
        acc = add_weighted(acc, grad_scores, k_tile)
        if grad_bias_h is not None:
            in_rows = tl.reshape(grad_scores, (QUERIES, ROWS, COLUMNS))
            acc_w += tl.sum(in_rows, 1)
            store(grad_bias_h, tl.sum(in_rows, 2), queries, is_query, top, kv_window_h)
    acc = scaled(acc, SCALE)
    if RESIDUAL:
        acc = added(acc, load(grad, queries, is_query, C, C_1, C_2))  # again: registers are few until here
    store_channels(grad_q, acc, queries, is_query, C)
    if grad_bias_w is not None:
        store(grad_bias_w, acc_w, queries_w, is_query, 0, kv_window_w)


@triton.jit(do_not_specialize=SIZES)
def grad_keys_kernel(
    q, k, v, bias_h, bias_w, lse, grad, delta, grad_k, grad_v,
    q_map_h, q_map_w, q_window_h, q_window_w, kv_map_h, kv_map_w, kv_window_h, kv_window_w, heads, images,
    SCALE: tl.constexpr, C: tl.constexpr, C_1: tl.constexpr, C_2: tl.constexpr, QUERIES: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Write the gradients of keys and values; a program holds some rows of a window's keys."""
    q_map = (q_map_h, q_map_w, q_window_h, q_window_w)
    kv_map = (kv_map_h, kv_map_w, kv_window_h, kv_window_w)
    part, window = this_window(tl.cdiv(kv_window_h, ROWS), q_map, heads)
    keys, is_key = tile_of_keys(part * ROWS, window, kv_map, ROWS, COLUMNS)
    k_tile, v_tile = load(k, keys, is_key, C, C_1, C_2), load(v, keys, is_key, C, C_1, C_2)
    rows, columns = part * ROWS + tl.arange(0, ROWS), tl.arange(0, COLUMNS)

    acc_k = zeros(ROWS * COLUMNS, C_1, C_2, ACC)
    acc_v = zeros(ROWS * COLUMNS, C_1, C_2, ACC)
    height, width = on_map(window, q_map)
    for first in range(0, height * width, QUERIES):
        queries, is_query, queries_w = tile_of_queries(first, window, q_map, images, QUERIES)
        q_tile = load(q, queries, is_query, C, C_1, C_2)
        grad_tile = load(grad, queries, is_query, C, C_1, C_2)
        bias_h_tile = _bias(bias_h, queries, is_query, rows, kv_window_h, ACC)
        bias_w_tile = _bias(bias_w, queries_w, is_query, columns, kv_window_w, ACC)
        lse_tile = tl.load(lse + queries, is_query, other=0.0)
        delta_tile = tl.load(delta + queries, is_query, other=0.0)
        weights = tl.exp2(_scores(q_tile, k_tile, bias_h_tile, bias_w_tile, SCALE) - lse_tile[:, None])
        acc_v = add_weighted(acc_v, tl.trans(weights), grad_tile)
        grad_scores = weights * (multiply(grad_tile, v_tile) - delta_tile[:, None])
        acc_k = add_weighted(acc_k, tl.trans(grad_scores), q_tile)
    store_channels(grad_k, scaled(acc_k, SCALE), keys, is_key, C)
    store_channels(grad_v, acc_v, keys, is_key, C)
