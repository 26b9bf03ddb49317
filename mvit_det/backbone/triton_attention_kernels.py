"""What a GPU does for attention: a program per tile of queries, or in :func:`grad_keys_kernel` of keys.

A program reads the keys of a window in whole rows of the map, each row filled up to a power of two. So a
tile's biases, of its queries to rows and to columns, are added to the scores by broadcasting. The channels of
a head are held in two parts, each a power of two: 96 as 64 and 32, where one part would be 128. Maps are read
and written in place: no copy of them is cut up. Scores are in units of log 2, as a GPU's exponential is.
Source: FlashAttention-2, arXiv 2307.08691, algorithms 1 and 2, with the biases added to each tile.
"""

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)
# Sizes of maps and windows, and the number of heads and of images: what is compiled serves all.
SIZES = [f"{x}_{what}_{side}" for x in ("q", "kv") for what in ("map", "window") for side in "hw"]
SIZES += ["heads", "images"]


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
def _queries(first, window, q_map, images, QUERIES: tl.constexpr):
    """Return the tokens of a tile's queries, which there are, and their indices in (W, heads, N, H).

    Padding asks nothing.
    """
    height, width = _on_map(window, q_map)
    map_h, _, window_h, window_w = q_map
    row, column, head, heads, image = window
    places = first + tl.arange(0, QUERIES)
    rows, columns = places // width, places % width
    by_column = ((column * window_w + columns).to(tl.int64) * heads + head) * images + image
    by_column = by_column * map_h + row * window_h + rows
    return _tokens(rows, columns, window, q_map), places < height * width, by_column


@triton.jit
def _keys(top, window, kv_map, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Return the tokens of a tile's keys, rows of the window from ``top`` on, and which are on the map."""
    height, width = _on_map(window, kv_map)
    places = tl.arange(0, ROWS * COLUMNS)
    rows, columns = top + places // COLUMNS, places % COLUMNS
    return _tokens(rows, columns, window, kv_map), (rows < height) & (columns < width)


@triton.jit
def _load(tensor, tokens, there, C: tl.constexpr, C_1: tl.constexpr, C_2: tl.constexpr):
    """Return the channels of tokens, (tokens, C_1) and (tokens, C_2); zeros for those that are not there."""
    rows, there = tensor + tokens[:, None] * C, there[:, None]
    first, second = tl.arange(0, C_1), C_1 + tl.arange(0, C_2)
    return (
        tl.load(rows + first, there & (first < C), other=0.0),
        tl.load(rows + second, there & (second < C), other=0.0),
    )


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
def _store_channels(tensor, parts, tokens, there, C: tl.constexpr, C_1: tl.constexpr, C_2: tl.constexpr):
    """Write what :func:`_load` would read."""
    _store(tensor, parts[0], tokens, there, 0, C, C_1)
    _store(tensor, parts[1], tokens, there, C_1, C, C_2)


@triton.jit
def _matmul(a, b):
    return tl.dot(a, b.to(a.dtype), input_precision="ieee")


@triton.jit
def _products(a, b):
    """Return the products (tokens of a, tokens of b) of channels."""
    return _matmul(a[0], tl.trans(b[0])) + _matmul(a[1], tl.trans(b[1]))


@triton.jit
def _add_weighted(acc, weights, tile):
    """Return ``acc`` and the sums over a tile's tokens, by weights (tokens of acc, tokens of tile)."""
    weights = weights.to(tile[0].dtype)
    return acc[0] + _matmul(weights, tile[0]), acc[1] + _matmul(weights, tile[1])


@triton.jit
def _zeros(TOKENS: tl.constexpr, C_1: tl.constexpr, C_2: tl.constexpr, ACC: tl.constexpr):
    return tl.zeros((TOKENS, C_1), ACC), tl.zeros((TOKENS, C_2), ACC)


@triton.jit
def _scaled(parts, scale):
    return parts[0] * scale, parts[1] * scale


@triton.jit
def _added(parts, others):
    return parts[0] + others[0], parts[1] + others[1]


@triton.jit
def _scores(q, k, bias_h, bias_w, SCALE: tl.constexpr):
    """Return the scores (queries, keys) of a tile, in units of log 2."""
    bias = bias_h[:, :, None] + bias_w[:, None, :]
    products = _products(q, k) * (SCALE * LOG2_E)
    return products + tl.reshape(bias, products.shape)


@triton.jit(do_not_specialize=SIZES)
def attention_kernel(
    q, k, v, bias_h, bias_w, out, total, lse,
    q_map_h, q_map_w, q_window_h, q_window_w, kv_map_h, kv_map_w, kv_window_h, kv_window_w, heads, images,
    SCALE: tl.constexpr, C: tl.constexpr, C_1: tl.constexpr, C_2: tl.constexpr, QUERIES: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Write the output of a tile of queries, its sum with the queries, and the log-sum-exp of the scores."""
    q_map = (q_map_h, q_map_w, q_window_h, q_window_w)
    kv_map = (kv_map_h, kv_map_w, kv_window_h, kv_window_w)
    part, window = _window(tl.cdiv(q_window_h * q_window_w, QUERIES), q_map, heads)
    height, width = _on_map(window, q_map)
    if part * QUERIES >= height * width:
        return
    queries, is_query, by_column = _queries(part * QUERIES, window, q_map, images, QUERIES)
    q_tile = _load(q, queries, is_query, C, C_1, C_2)
    bias_w_tile = _bias(bias_w, by_column, is_query, tl.arange(0, COLUMNS), kv_window_w, ACC)

    row_max = tl.full((QUERIES,), -float("inf"), ACC)
    row_sum = tl.zeros((QUERIES,), ACC)
    acc = _zeros(QUERIES, C_1, C_2, ACC)
    for top in range(0, kv_window_h, ROWS):
        keys, is_key = _keys(top, window, kv_map, ROWS, COLUMNS)
        k_tile, v_tile = _load(k, keys, is_key, C, C_1, C_2), _load(v, keys, is_key, C, C_1, C_2)
        bias_h_tile = _bias(bias_h, queries, is_query, top + tl.arange(0, ROWS), kv_window_h, ACC)
        scores = _scores(q_tile, k_tile, bias_h_tile, bias_w_tile, SCALE)
        new_max = tl.maximum(row_max, tl.max(scores, 1))
        weights = tl.exp2(scores - new_max[:, None])
        rescale = tl.exp2(row_max - new_max)
        acc = _add_weighted(_scaled(acc, rescale[:, None]), weights, v_tile)
        row_sum = row_sum * rescale + tl.sum(weights, 1)
        row_max = new_max
    acc = _scaled(acc, 1 / row_sum[:, None])
    _store_channels(out, acc, queries, is_query, C, C_1, C_2)
    if total is not None:
        _store_channels(total, _added(acc, q_tile), queries, is_query, C, C_1, C_2)
    tl.store(lse + queries, row_max + tl.log2(row_sum), is_query)


@triton.jit(do_not_specialize=SIZES)
def grad_queries_kernel(
    q, k, v, bias_h, bias_w, out, lse, grad, delta, grad_q, grad_bias_h, grad_bias_w,
    q_map_h, q_map_w, q_window_h, q_window_w, kv_map_h, kv_map_w, kv_window_h, kv_window_w, heads, images,
    SCALE: tl.constexpr, C: tl.constexpr, C_1: tl.constexpr, C_2: tl.constexpr, QUERIES: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, ACC: tl.constexpr, RESIDUAL: tl.constexpr,
):  # fmt: skip
    """Write the gradients of a tile of queries and its biases, and delta: sums of output times gradient."""
    q_map = (q_map_h, q_map_w, q_window_h, q_window_w)
    kv_map = (kv_map_h, kv_map_w, kv_window_h, kv_window_w)
    part, window = _window(tl.cdiv(q_window_h * q_window_w, QUERIES), q_map, heads)
    height, width = _on_map(window, q_map)
    if part * QUERIES >= height * width:
        return
    queries, is_query, by_column = _queries(part * QUERIES, window, q_map, images, QUERIES)
    q_tile = _load(q, queries, is_query, C, C_1, C_2)
    grad_tile = _load(grad, queries, is_query, C, C_1, C_2)
    bias_w_tile = _bias(bias_w, by_column, is_query, tl.arange(0, COLUMNS), kv_window_w, ACC)
    lse_tile = tl.load(lse + queries, is_query, other=0.0)
    out_tile = _load(out, queries, is_query, C, C_1, C_2)
    delta_tile = tl.sum(out_tile[0].to(ACC) * grad_tile[0], 1)
    delta_tile += tl.sum(out_tile[1].to(ACC) * grad_tile[1], 1)
    tl.store(delta + queries, delta_tile, is_query)

    acc = _zeros(QUERIES, C_1, C_2, ACC)
    acc_w = tl.zeros((QUERIES, COLUMNS), ACC)
    for top in range(0, kv_window_h, ROWS):
        keys, is_key = _keys(top, window, kv_map, ROWS, COLUMNS)
        k_tile, v_tile = _load(k, keys, is_key, C, C_1, C_2), _load(v, keys, is_key, C, C_1, C_2)
        bias_h_tile = _bias(bias_h, queries, is_query, top + tl.arange(0, ROWS), kv_window_h, ACC)
        weights = tl.exp2(_scores(q_tile, k_tile, bias_h_tile, bias_w_tile, SCALE) - lse_tile[:, None])
        grad_scores = weights * (_products(grad_tile, v_tile) - delta_tile[:, None])
        acc = _add_weighted(acc, grad_scores, k_tile)
        if grad_bias_h is not None:
            in_rows = tl.reshape(grad_scores, (QUERIES, ROWS, COLUMNS))
            acc_w += tl.sum(in_rows, 1)
            _store(grad_bias_h, tl.sum(in_rows, 2), queries, is_query, top, kv_window_h, ROWS)
    acc = _scaled(acc, SCALE)
    if RESIDUAL:
        acc = _added(acc, _load(grad, queries, is_query, C, C_1, C_2))  # again: registers are few until here
    _store_channels(grad_q, acc, queries, is_query, C, C_1, C_2)
    if grad_bias_w is not None:
        _store(grad_bias_w, acc_w, by_column, is_query, 0, kv_window_w, COLUMNS)


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
    part, window = _window(tl.cdiv(kv_window_h, ROWS), q_map, heads)
    keys, is_key = _keys(part * ROWS, window, kv_map, ROWS, COLUMNS)
    k_tile, v_tile = _load(k, keys, is_key, C, C_1, C_2), _load(v, keys, is_key, C, C_1, C_2)
    rows, columns = part * ROWS + tl.arange(0, ROWS), tl.arange(0, COLUMNS)

    acc_k = _zeros(ROWS * COLUMNS, C_1, C_2, ACC)
    acc_v = _zeros(ROWS * COLUMNS, C_1, C_2, ACC)
    height, width = _on_map(window, q_map)
    for first in range(0, height * width, QUERIES):
        queries, is_query, by_column = _queries(first, window, q_map, images, QUERIES)
        q_tile = _load(q, queries, is_query, C, C_1, C_2)
        grad_tile = _load(grad, queries, is_query, C, C_1, C_2)
        bias_h_tile = _bias(bias_h, queries, is_query, rows, kv_window_h, ACC)
        bias_w_tile = _bias(bias_w, by_column, is_query, columns, kv_window_w, ACC)
        lse_tile = tl.load(lse + queries, is_query, other=0.0)
        delta_tile = tl.load(delta + queries, is_query, other=0.0)
        weights = tl.exp2(_scores(q_tile, k_tile, bias_h_tile, bias_w_tile, SCALE) - lse_tile[:, None])
        acc_v = _add_weighted(acc_v, tl.trans(weights.to(grad_tile[0].dtype)), grad_tile)
        grad_scores = weights * (_products(grad_tile, v_tile) - delta_tile[:, None])
        acc_k = _add_weighted(acc_k, tl.trans(grad_scores.to(q_tile[0].dtype)), q_tile)
    _store_channels(grad_k, _scaled(acc_k, SCALE), keys, is_key, C, C_1, C_2)
    _store_channels(grad_v, acc_v, keys, is_key, C, C_1, C_2)
