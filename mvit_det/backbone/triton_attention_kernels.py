"""What a GPU does for attention: a program per tile of queries, or in :func:`grad_keys_kernel` of keys.

A program reads the keys of a window in whole rows of the map, each row filled up to a power of two. So a
tile's biases, of its queries to rows and to columns, are added to the scores by broadcasting. Maps are read
and written in place: no copy of them is cut up. Scores are in units of log 2, as a GPU's exponential is.
Source: FlashAttention-2, arXiv 2307.08691, algorithms 1 and 2, with the biases added to each tile.
"""

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)
# Sizes of maps and windows, and the number of heads: what is compiled serves all.
SIZES = [f"{x}_{what}_{side}" for x in ("q", "kv") for what in ("map", "window") for side in "hw"] + ["heads"]


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
    """Return the index of each token in a map stored as (N, H, W, heads); times C it is an offset."""
    map_h, map_w, window_h, window_w = a_map
    row, column, head, heads, image = window
    y, x = row * window_h + rows, column * window_w + columns
    # In 64 bits: the offsets of a large batch pass 2**31.
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
def _load(tensor, tokens, there, C: tl.constexpr, PADDED_C: tl.constexpr):
    """Return the channels of tokens, (tokens, PADDED_C); zeros for those that are not there."""
    channels = tl.arange(0, PADDED_C)
    return tl.load(tensor + tokens[:, None] * C + channels, there[:, None] & (channels < C), other=0.0)


@triton.jit
def _store(tensor, values, tokens, there, first, num_columns, WIDTH: tl.constexpr):
    """Write values (tokens, WIDTH) to the columns from ``first`` on of rows of a matrix."""
    columns = first + tl.arange(0, WIDTH)
    mask = there[:, None] & (columns < num_columns)
    tl.store(tensor + tokens[:, None] * num_columns + columns, values.to(tensor.dtype.element_ty), mask)


@triton.jit
def _bias(bias, queries, there, keys, num_keys, ACC: tl.constexpr):
    """Return the biases (queries, keys) to rows or to columns; -inf where these are off the window."""
    found = tl.zeros((queries.shape[0], keys.shape[0]), ACC)
    if bias is not None:
        mask = there[:, None] & (keys < num_keys)
        found = tl.load(bias + queries[:, None] * num_keys + keys, mask, other=0.0).to(ACC) * LOG2_E
    return tl.where(keys < num_keys, found, -float("inf"))


@triton.jit
def _matmul(a, b):
    return tl.dot(a, b.to(a.dtype), input_precision="ieee")


@triton.jit
def _scores(q, k, bias_h, bias_w, SCALE: tl.constexpr):
    """Return the scores (queries, keys) of a tile, in units of log 2."""
    bias = bias_h[:, :, None] + bias_w[:, None, :]
    products = _matmul(q, tl.trans(k)) * (SCALE * LOG2_E)
    return products + tl.reshape(bias, products.shape)


@triton.jit(do_not_specialize=SIZES)
def attention_kernel(
    q, k, v, bias_h, bias_w, out, lse,
    q_map_h, q_map_w, q_window_h, q_window_w, kv_map_h, kv_map_w, kv_window_h, kv_window_w, heads,
    SCALE: tl.constexpr, C: tl.constexpr, PADDED_C: tl.constexpr, QUERIES: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Write the output of a tile of queries, and the log-sum-exp of its scores."""
    q_map = (q_map_h, q_map_w, q_window_h, q_window_w)
    kv_map = (kv_map_h, kv_map_w, kv_window_h, kv_window_w)
    part, window = _window(tl.cdiv(q_window_h * q_window_w, QUERIES), q_map, heads)
    height, width = _on_map(window, q_map)
    if part * QUERIES >= height * width:
        return
    queries, is_query = _queries(part * QUERIES, window, q_map, QUERIES)
    q_tile = _load(q, queries, is_query, C, PADDED_C)
    bias_w_tile = _bias(bias_w, queries, is_query, tl.arange(0, COLUMNS), kv_window_w, ACC)

    row_max = tl.full((QUERIES,), -float("inf"), ACC)
    row_sum = tl.zeros((QUERIES,), ACC)
    acc = tl.zeros((QUERIES, PADDED_C), ACC)
    for top in range(0, kv_window_h, ROWS):
        keys, is_key = _keys(top, window, kv_map, ROWS, COLUMNS)
        k_tile, v_tile = _load(k, keys, is_key, C, PADDED_C), _load(v, keys, is_key, C, PADDED_C)
        bias_h_tile = _bias(bias_h, queries, is_query, top + tl.arange(0, ROWS), kv_window_h, ACC)
        scores = _scores(q_tile, k_tile, bias_h_tile, bias_w_tile, SCALE)
        new_max = tl.maximum(row_max, tl.max(scores, 1))
        weights = tl.exp2(scores - new_max[:, None])
        rescale = tl.exp2(row_max - new_max)
        acc = acc * rescale[:, None] + _matmul(weights.to(v_tile.dtype), v_tile)
        row_sum = row_sum * rescale + tl.sum(weights, 1)
        row_max = new_max
    acc /= row_sum[:, None]
    _store(out, acc, queries, is_query, 0, C, PADDED_C)
    tl.store(lse + queries, row_max + tl.log2(row_sum), is_query)


@triton.jit(do_not_specialize=SIZES)
def grad_queries_kernel(
    q, k, v, bias_h, bias_w, out, lse, grad, delta, grad_q, grad_bias_h, grad_bias_w,
    q_map_h, q_map_w, q_window_h, q_window_w, kv_map_h, kv_map_w, kv_window_h, kv_window_w, heads,
    SCALE: tl.constexpr, C: tl.constexpr, PADDED_C: tl.constexpr, QUERIES: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Write the gradients of a tile of queries and its biases, and delta: sums of output times gradient."""
    q_map = (q_map_h, q_map_w, q_window_h, q_window_w)
    kv_map = (kv_map_h, kv_map_w, kv_window_h, kv_window_w)
    part, window = _window(tl.cdiv(q_window_h * q_window_w, QUERIES), q_map, heads)
    height, width = _on_map(window, q_map)
    if part * QUERIES >= height * width:
        return
    queries, is_query = _queries(part * QUERIES, window, q_map, QUERIES)
    q_tile = _load(q, queries, is_query, C, PADDED_C)
    grad_tile = _load(grad, queries, is_query, C, PADDED_C)
    bias_w_tile = _bias(bias_w, queries, is_query, tl.arange(0, COLUMNS), kv_window_w, ACC)
    lse_tile = tl.load(lse + queries, is_query, other=0.0)
    delta_tile = tl.sum(_load(out, queries, is_query, C, PADDED_C).to(ACC) * grad_tile, 1)
    tl.store(delta + queries, delta_tile, is_query)

    acc = tl.zeros((QUERIES, PADDED_C), ACC)
    acc_w = tl.zeros((QUERIES, COLUMNS), ACC)
    for top in range(0, kv_window_h, ROWS):
        keys, is_key = _keys(top, window, kv_map, ROWS, COLUMNS)
        k_tile, v_tile = _load(k, keys, is_key, C, PADDED_C), _load(v, keys, is_key, C, PADDED_C)
        bias_h_tile = _bias(bias_h, queries, is_query, top + tl.arange(0, ROWS), kv_window_h, ACC)
        weights = tl.exp2(_scores(q_tile, k_tile, bias_h_tile, bias_w_tile, SCALE) - lse_tile[:, None])
        grad_scores = weights * (_matmul(grad_tile, tl.trans(v_tile)) - delta_tile[:, None])
        acc += _matmul(grad_scores.to(k_tile.dtype), k_tile)
        if grad_bias_h is not None:
            in_rows = tl.reshape(grad_scores, (QUERIES, ROWS, COLUMNS))
            acc_w += tl.sum(in_rows, 1)
            _store(grad_bias_h, tl.sum(in_rows, 2), queries, is_query, top, kv_window_h, ROWS)
    _store(grad_q, acc * SCALE, queries, is_query, 0, C, PADDED_C)
    if grad_bias_w is not None:
        _store(grad_bias_w, acc_w, queries, is_query, 0, kv_window_w, COLUMNS)


@triton.jit(do_not_specialize=SIZES)
def grad_keys_kernel(
    q, k, v, bias_h, bias_w, lse, grad, delta, grad_k, grad_v,
    q_map_h, q_map_w, q_window_h, q_window_w, kv_map_h, kv_map_w, kv_window_h, kv_window_w, heads,
    SCALE: tl.constexpr, C: tl.constexpr, PADDED_C: tl.constexpr, QUERIES: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Write the gradients of keys and values; a program holds some rows of a window's keys."""
    q_map = (q_map_h, q_map_w, q_window_h, q_window_w)
    kv_map = (kv_map_h, kv_map_w, kv_window_h, kv_window_w)
    part, window = _window(tl.cdiv(kv_window_h, ROWS), q_map, heads)
    keys, is_key = _keys(part * ROWS, window, kv_map, ROWS, COLUMNS)
    k_tile, v_tile = _load(k, keys, is_key, C, PADDED_C), _load(v, keys, is_key, C, PADDED_C)
    rows, columns = part * ROWS + tl.arange(0, ROWS), tl.arange(0, COLUMNS)

    acc_k = tl.zeros((ROWS * COLUMNS, PADDED_C), ACC)
    acc_v = tl.zeros((ROWS * COLUMNS, PADDED_C), ACC)
    height, width = _on_map(window, q_map)
    for first in range(0, height * width, QUERIES):
        queries, is_query = _queries(first, window, q_map, QUERIES)
        q_tile = _load(q, queries, is_query, C, PADDED_C)
        grad_tile = _load(grad, queries, is_query, C, PADDED_C)
        bias_h_tile = _bias(bias_h, queries, is_query, rows, kv_window_h, ACC)
        bias_w_tile = _bias(bias_w, queries, is_query, columns, kv_window_w, ACC)
        lse_tile = tl.load(lse + queries, is_query, other=0.0)
        delta_tile = tl.load(delta + queries, is_query, other=0.0)
        weights = tl.exp2(_scores(q_tile, k_tile, bias_h_tile, bias_w_tile, SCALE) - lse_tile[:, None])
        acc_v += _matmul(tl.trans(weights.to(grad_tile.dtype)), grad_tile)
        grad_scores = weights * (_matmul(grad_tile, tl.trans(v_tile)) - delta_tile[:, None])
        acc_k += _matmul(tl.trans(grad_scores.to(q_tile.dtype)), q_tile)
    _store(grad_k, acc_k * SCALE, keys, is_key, 0, C, PADDED_C)
    _store(grad_v, acc_v, keys, is_key, 0, C, PADDED_C)
