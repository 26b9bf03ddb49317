"""What a program of attention on a GPU holds: tokens of a window, and their channels in two parts.

Each part is a power of two: 96 channels are 64 and 32, where one part would be 128.
"""

import triton
import triton.language as tl


@triton.jit
def this_window(parts, q_map, heads):
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
def on_map(window, a_map):
    """Return the height and the width of the part of a window that is on the map."""
    map_h, map_w, window_h, window_w = a_map
    row, column, _, _, _ = window
    return tl.minimum(window_h, map_h - row * window_h), tl.minimum(window_w, map_w - column * window_w)


@triton.jit
def tile_of_queries(first, window, q_map, images, QUERIES: tl.constexpr):
    """Return the tokens of a tile's queries, which of them there are, and their places in ``bias_w``.

    Padding asks nothing.
    """
    height, width = on_map(window, q_map)
    map_h, _, window_h, window_w = q_map
    row, column, head, heads, image = window
    places = first + tl.arange(0, QUERIES)
    rows, columns = places // width, places % width
    queries_w = ((column * window_w + columns).to(tl.int64) * heads + head) * images + image
    queries_w = queries_w * map_h + row * window_h + rows
    return _tokens(rows, columns, window, q_map), places < height * width, queries_w


@triton.jit
def tile_of_keys(top, window, kv_map, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Return the tokens of a tile's keys, rows of the window from ``top`` on, and which are on the map."""
    height, width = on_map(window, kv_map)
    places = tl.arange(0, ROWS * COLUMNS)
    rows, columns = top + places // COLUMNS, places % COLUMNS
    return _tokens(rows, columns, window, kv_map), (rows < height) & (columns < width)


@triton.jit
def load(tensor, tokens, there, C: tl.constexpr, C_1: tl.constexpr, C_2: tl.constexpr):
    """Return the channels of tokens, (tokens, C_1) and (tokens, C_2); zeros for those that are not there."""
    pointers, there = tensor + tokens[:, None] * C, there[:, None]
    first, second = tl.arange(0, C_1), C_1 + tl.arange(0, C_2)
    return (
        tl.load(pointers + first, there & (first < C), other=0.0),
        tl.load(pointers + second, there & (second < C), other=0.0),
    )


@triton.jit
def store(tensor, values, tokens, there, first, num_columns):
    """Write values (tokens, columns) to the columns from ``first`` on of rows of a matrix."""
    columns = first + tl.arange(0, values.shape[1])
    mask = there[:, None] & (columns < num_columns)
    tl.store(tensor + tokens[:, None] * num_columns + columns, values.to(tensor.dtype.element_ty), mask)


@triton.jit
def store_channels(tensor, parts, tokens, there, C: tl.constexpr):
    """Write what :func:`load` would read."""
    store(tensor, parts[0], tokens, there, 0, C)
    store(tensor, parts[1], tokens, there, parts[0].shape[1], C)


@triton.jit
def _matmul(a, b):
    return tl.dot(a, b, input_precision="ieee")


@triton.jit
def multiply(a, b):
    """Return the products (tokens of a, tokens of b) of channels."""
    return _matmul(a[0], tl.trans(b[0])) + _matmul(a[1], tl.trans(b[1]))


@triton.jit
def add_weighted(acc, weights, tile):
    """Return ``acc`` and the sums over a tile's tokens, by weights (tokens of acc, tokens of tile)."""
    weights = weights.to(tile[0].dtype)
    return acc[0] + _matmul(weights, tile[0]), acc[1] + _matmul(weights, tile[1])


@triton.jit
def zeros(TOKENS: tl.constexpr, C_1: tl.constexpr, C_2: tl.constexpr, ACC: tl.constexpr):
    return tl.zeros((TOKENS, C_1), ACC), tl.zeros((TOKENS, C_2), ACC)


@triton.jit
def scaled(parts, scale):
    return parts[0] * scale, parts[1] * scale


@triton.jit
def added(parts, others):
    return parts[0] + others[0], parts[1] + others[1]
