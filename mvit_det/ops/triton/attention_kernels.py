"""Triton kernels of exact window attention with decomposed relative positions.

This is FlashAttention-2 (arXiv 2307.08691, algorithms 1 and 2), with two differences:

- A tile of keys consists of whole rows of a window, each padded to a power of two. The biases of a tile
  are then a sum of two broadcast tensors: (queries, rows of keys, 1) + (queries, 1, columns of keys).
- The kernels read and write the maps, (N, H, W, heads, C), in place; they copy no windows. Keys in the
  padding of a window are zeros that take part in the softmax, as in the published models. Keys outside of
  the window are masked out.

``bias_h`` is (N, H, W, heads, rows of keys), and ``bias_w`` is (W, heads, N, H, columns of keys): the layouts
in which batched matrix products with the relative positions write them. Both are None without relative
positions. ``lse`` and ``delta`` are (N, H, W, heads). Scores and their log-sum-exp are in base 2, for
``exp2``.

Constants: ``C`` channels, in two parts of ``C_1`` and ``C_2``; ``QUERIES``, the queries of a tile; ``ROWS``
and ``COLUMNS``, the size of a tile of keys; ``ACC``, the dtype of the accumulators.
"""

import triton
import triton.language as tl

from mvit_det.ops.triton.tiles import (
    add,
    add_dot,
    clipped_size,
    dot_transposed,
    key_tile,
    load,
    program_window,
    query_tile,
    scale,
    store,
    store_columns,
    zeros,
)

LOG2_E = tl.constexpr(1.4426950408889634)
# Not specialized: one compiled kernel serves maps of all sizes.
SIZES = [f"{x}_{what}_{side}" for x in ("q", "kv") for what in ("map", "window") for side in "hw"]
SIZES += ["heads", "images"]


@triton.jit
def _load_bias(bias, queries, query_mask, keys, num_keys, ACC: tl.constexpr):
    """Load biases (queries, rows or columns of keys); -inf masks out keys outside of the window."""
    tile = tl.zeros((queries.shape[0], keys.shape[0]), ACC)
    if bias is not None:
        mask = query_mask[:, None] & (keys < num_keys)
        tile = tl.load(bias + queries[:, None] * num_keys + keys, mask, other=0.0).to(ACC) * LOG2_E
    return tl.where(keys < num_keys, tile, -float("inf"))


@triton.jit
def _scores(q, k, bias_h, bias_w, SCALE: tl.constexpr):
    """Return the scores (queries, keys) of a tile in base 2."""
    bias = bias_h[:, :, None] + bias_w[:, None, :]  # (queries, rows, columns)
    products = dot_transposed(q, k) * (SCALE * LOG2_E)
    return products + tl.reshape(bias, products.shape)


@triton.jit(do_not_specialize=SIZES)
def attention_kernel(
    q, k, v, bias_h, bias_w, out, attended, lse,
    q_map_h, q_map_w, q_window_h, q_window_w, kv_map_h, kv_map_w, kv_window_h, kv_window_w, heads, images,
    SCALE: tl.constexpr, C: tl.constexpr, C_1: tl.constexpr, C_2: tl.constexpr, QUERIES: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Compute the output of a tile of queries, and the log-sum-exp of its scores.

    If ``attended`` is not None, the kernel adds the queries to ``out`` (residual pooling), and stores the
    output without them in ``attended``.
    """
    q_map = (q_map_h, q_map_w, q_window_h, q_window_w)
    kv_map = (kv_map_h, kv_map_w, kv_window_h, kv_window_w)
    tile, window = program_window(tl.cdiv(q_window_h * q_window_w, QUERIES), q_map, heads)
    height, width = clipped_size(window, q_map)
    if tile * QUERIES >= height * width:
        return
    queries, query_mask, queries_w = query_tile(tile * QUERIES, window, q_map, images, QUERIES)
    q_tile = load(q, queries, query_mask, C, C_1, C_2)
    bias_w_tile = _load_bias(bias_w, queries_w, query_mask, tl.arange(0, COLUMNS), kv_window_w, ACC)

    row_max = tl.full((QUERIES,), -float("inf"), ACC)
    row_sum = tl.zeros((QUERIES,), ACC)
    acc = zeros(QUERIES, C_1, C_2, ACC)
    for top in range(0, kv_window_h, ROWS):  # online softmax
        keys, key_mask = key_tile(top, window, kv_map, ROWS, COLUMNS)
        k_tile, v_tile = load(k, keys, key_mask, C, C_1, C_2), load(v, keys, key_mask, C, C_1, C_2)
        bias_h_tile = _load_bias(bias_h, queries, query_mask, top + tl.arange(0, ROWS), kv_window_h, ACC)
        scores = _scores(q_tile, k_tile, bias_h_tile, bias_w_tile, SCALE)  # (queries, keys)
        new_max = tl.maximum(row_max, tl.max(scores, 1))
        weights = tl.exp2(scores - new_max[:, None])
        rescale = tl.exp2(row_max - new_max)
        acc = add_dot(scale(acc, rescale[:, None]), weights, v_tile)
        row_sum = row_sum * rescale + tl.sum(weights, 1)
        row_max = new_max
    acc = scale(acc, 1 / row_sum[:, None])
    if attended is not None:
        store(attended, acc, queries, query_mask, C)
        acc = add(acc, q_tile)
    store(out, acc, queries, query_mask, C)
    tl.store(lse + queries, row_max + tl.log2(row_sum), query_mask)


@triton.jit(do_not_specialize=SIZES)
def grad_queries_kernel(
    q, k, v, bias_h, bias_w, attended, lse, grad, delta, grad_q, grad_bias_h, grad_bias_w,
    q_map_h, q_map_w, q_window_h, q_window_w, kv_map_h, kv_map_w, kv_window_h, kv_window_w, heads, images,
    SCALE: tl.constexpr, C: tl.constexpr, C_1: tl.constexpr, C_2: tl.constexpr, QUERIES: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, ACC: tl.constexpr, RESIDUAL: tl.constexpr,
):  # fmt: skip
    """Compute the gradients of a tile of queries and of its biases, and ``delta``.

    ``delta`` is the sum over channels of ``attended * grad``, which :func:`grad_keys_kernel` needs;
    ``attended`` is the output without the residual.
    """
    q_map = (q_map_h, q_map_w, q_window_h, q_window_w)
    kv_map = (kv_map_h, kv_map_w, kv_window_h, kv_window_w)
    tile, window = program_window(tl.cdiv(q_window_h * q_window_w, QUERIES), q_map, heads)
    height, width = clipped_size(window, q_map)
    if tile * QUERIES >= height * width:
        return
    queries, query_mask, queries_w = query_tile(tile * QUERIES, window, q_map, images, QUERIES)
    q_tile = load(q, queries, query_mask, C, C_1, C_2)
    grad_tile = load(grad, queries, query_mask, C, C_1, C_2)
    bias_w_tile = _load_bias(bias_w, queries_w, query_mask, tl.arange(0, COLUMNS), kv_window_w, ACC)
    lse_tile = tl.load(lse + queries, query_mask, other=0.0)
    attended_tile = load(attended, queries, query_mask, C, C_1, C_2)
    delta_tile = tl.sum(attended_tile[0].to(ACC) * grad_tile[0], 1)
    delta_tile += tl.sum(attended_tile[1].to(ACC) * grad_tile[1], 1)
    tl.store(delta + queries, delta_tile, query_mask)

    acc = zeros(QUERIES, C_1, C_2, ACC)
    acc_w = tl.zeros((QUERIES, COLUMNS), ACC)
    for top in range(0, kv_window_h, ROWS):
        keys, key_mask = key_tile(top, window, kv_map, ROWS, COLUMNS)
        k_tile, v_tile = load(k, keys, key_mask, C, C_1, C_2), load(v, keys, key_mask, C, C_1, C_2)
        bias_h_tile = _load_bias(bias_h, queries, query_mask, top + tl.arange(0, ROWS), kv_window_h, ACC)
        weights = tl.exp2(_scores(q_tile, k_tile, bias_h_tile, bias_w_tile, SCALE) - lse_tile[:, None])
        grad_scores = weights * (dot_transposed(grad_tile, v_tile) - delta_tile[:, None])  # (queries, keys)
        acc = add_dot(acc, grad_scores, k_tile)
        if grad_bias_h is not None:
            by_row = tl.reshape(grad_scores, (QUERIES, ROWS, COLUMNS))
            acc_w += tl.sum(by_row, 1)
            store_columns(grad_bias_h, tl.sum(by_row, 2), queries, query_mask, top, kv_window_h)
    acc = scale(acc, SCALE)
    if RESIDUAL:
        # Loads the gradient again: keeping it until here would raise the register pressure of the loop.
        acc = add(acc, load(grad, queries, query_mask, C, C_1, C_2))
    store(grad_q, acc, queries, query_mask, C)
    if grad_bias_w is not None:
        store_columns(grad_bias_w, acc_w, queries_w, query_mask, 0, kv_window_w)


@triton.jit(do_not_specialize=SIZES)
def grad_keys_kernel(
    q, k, v, bias_h, bias_w, lse, grad, delta, grad_k, grad_v,
    q_map_h, q_map_w, q_window_h, q_window_w, kv_map_h, kv_map_w, kv_window_h, kv_window_w, heads, images,
    SCALE: tl.constexpr, C: tl.constexpr, C_1: tl.constexpr, C_2: tl.constexpr, QUERIES: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Compute the gradients of a tile of keys and values, in a loop over the queries of the window."""
    q_map = (q_map_h, q_map_w, q_window_h, q_window_w)
    kv_map = (kv_map_h, kv_map_w, kv_window_h, kv_window_w)
    tile, window = program_window(tl.cdiv(kv_window_h, ROWS), q_map, heads)
    keys, key_mask = key_tile(tile * ROWS, window, kv_map, ROWS, COLUMNS)
    k_tile, v_tile = load(k, keys, key_mask, C, C_1, C_2), load(v, keys, key_mask, C, C_1, C_2)
    rows, columns = tile * ROWS + tl.arange(0, ROWS), tl.arange(0, COLUMNS)

    acc_k = zeros(ROWS * COLUMNS, C_1, C_2, ACC)
    acc_v = zeros(ROWS * COLUMNS, C_1, C_2, ACC)
    height, width = clipped_size(window, q_map)
    for first in range(0, height * width, QUERIES):
        queries, query_mask, queries_w = query_tile(first, window, q_map, images, QUERIES)
        q_tile = load(q, queries, query_mask, C, C_1, C_2)
        grad_tile = load(grad, queries, query_mask, C, C_1, C_2)
        bias_h_tile = _load_bias(bias_h, queries, query_mask, rows, kv_window_h, ACC)
        bias_w_tile = _load_bias(bias_w, queries_w, query_mask, columns, kv_window_w, ACC)
        lse_tile = tl.load(lse + queries, query_mask, other=0.0)
        delta_tile = tl.load(delta + queries, query_mask, other=0.0)
        weights = tl.exp2(_scores(q_tile, k_tile, bias_h_tile, bias_w_tile, SCALE) - lse_tile[:, None])
        acc_v = add_dot(acc_v, tl.trans(weights), grad_tile)
        grad_scores = weights * (dot_transposed(grad_tile, v_tile) - delta_tile[:, None])  # (queries, keys)
        acc_k = add_dot(acc_k, tl.trans(grad_scores), q_tile)
    store(grad_k, scale(acc_k, SCALE), keys, key_mask, C)
    store(grad_v, acc_v, keys, key_mask, C)
