"""The tiles that the attention kernels hold: some tokens of a window, with their channels in two parts.

The sides of a Triton tensor are powers of two. Two parts waste less than rounding up: 96 channels are
64 + 32, not 128.

A map is given as the tuple (height, width, height of a window, width of a window), and a window as (row and
column among the windows, head, number of heads, image).
"""

import triton
import triton.language as tl


@triton.jit
def program_window(num_tiles, q_map, num_heads):
    """Return which of a window's ``num_tiles`` tiles this program computes, and the window."""
    map_h, map_w, window_h, window_w = q_map
    index = tl.program_id(0)
    tile, index = index % num_tiles, index // num_tiles
    columns, rows = tl.cdiv(map_w, window_w), tl.cdiv(map_h, window_h)
    column, index = index % columns, index // columns
    row, index = index % rows, index // rows
    return tile, (row, column, index % num_heads, num_heads, index // num_heads)


@triton.jit
def _token_index(y_in_window, x_in_window, window, a_map):
    """Return the index of each token in a map (N, H, W, heads); times C, it is the offset of its channels."""
    map_h, map_w, window_h, window_w = a_map
    row, column, head, num_heads, image = window
    y, x = row * window_h + y_in_window, column * window_w + x_in_window
    # The offsets of a large batch exceed 32 bits.
    return ((image * map_h + y).to(tl.int64) * map_w + x) * num_heads + head


@triton.jit
def clipped_size(window, a_map):
    """Return the height and the width of the part of a window that lies on the map."""
    map_h, map_w, window_h, window_w = a_map
    row, column, _, _, _ = window
    return tl.minimum(window_h, map_h - row * window_h), tl.minimum(window_w, map_w - column * window_w)


@triton.jit
def query_tile(first, window, q_map, num_images, QUERIES: tl.constexpr):
    """Return the token indexes of a tile of queries, their mask, and their indexes in ``bias_w``.

    Counts only the queries on the map, row by row; ``first`` is the first one of the tile.
    """
    height, width = clipped_size(window, q_map)
    map_h, _, window_h, window_w = q_map
    row, column, head, num_heads, image = window
    index = first + tl.arange(0, QUERIES)
    y, x = index // width, index % width
    index_w = ((column * window_w + x).to(tl.int64) * num_heads + head) * num_images + image
    index_w = index_w * map_h + row * window_h + y
    return _token_index(y, x, window, q_map), index < height * width, index_w


@triton.jit
def key_tile(top, window, kv_map, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Return the token indexes of a tile of keys, and the mask of those on the map.

    The tile begins at row ``top`` of the window.
    """
    height, width = clipped_size(window, kv_map)
    index = tl.arange(0, ROWS * COLUMNS)
    y, x = top + index // COLUMNS, index % COLUMNS
    return _token_index(y, x, window, kv_map), (y < height) & (x < width)


@triton.jit
def load(tensor, tokens, mask, C: tl.constexpr, C_1: tl.constexpr, C_2: tl.constexpr):
    """Load the channels of tokens as (tokens, C_1) and (tokens, C_2); zeros where masked out."""
    pointers, mask = tensor + tokens[:, None] * C, mask[:, None]
    channels_1, channels_2 = tl.arange(0, C_1), C_1 + tl.arange(0, C_2)
    return (
        tl.load(pointers + channels_1, mask & (channels_1 < C), other=0.0),
        tl.load(pointers + channels_2, mask & (channels_2 < C), other=0.0),
    )


@triton.jit
def store_columns(matrix, values, rows, mask, first_column, num_columns):
    """Store values (rows, columns) in a matrix with ``num_columns``, from ``first_column`` on."""
    columns = first_column + tl.arange(0, values.shape[1])
    mask = mask[:, None] & (columns < num_columns)
    tl.store(matrix + rows[:, None] * num_columns + columns, values.to(matrix.dtype.element_ty), mask)


@triton.jit
def store(tensor, tile, tokens, mask, C: tl.constexpr):
    """Store the two parts of the channels of tokens; the inverse of :func:`load`."""
    store_columns(tensor, tile[0], tokens, mask, 0, C)
    store_columns(tensor, tile[1], tokens, mask, tile[0].shape[1], C)


@triton.jit
def _dot(a, b):
    return tl.dot(a, b, input_precision="ieee")


@triton.jit
def dot_transposed(a, b):
    """Return the products over channels, ``a @ b.T``: (tokens of a, tokens of b)."""
    return _dot(a[0], tl.trans(b[0])) + _dot(a[1], tl.trans(b[1]))


@triton.jit
def add_dot(acc, weights, tile):
    """Return ``acc + weights @ tile``; weights are (tokens of acc, tokens of tile)."""
    weights = weights.to(tile[0].dtype)
    return acc[0] + _dot(weights, tile[0]), acc[1] + _dot(weights, tile[1])


@triton.jit
def zeros(TOKENS: tl.constexpr, C_1: tl.constexpr, C_2: tl.constexpr, ACC: tl.constexpr):
    return tl.zeros((TOKENS, C_1), ACC), tl.zeros((TOKENS, C_2), ACC)


@triton.jit
def scale(tile, factor):
    return tile[0] * factor, tile[1] * factor


@triton.jit
def add(a, b):
    return a[0] + b[0], a[1] + b[1]
