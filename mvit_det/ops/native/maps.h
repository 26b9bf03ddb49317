// The arguments and the workspace of the kernel, and copies between maps and the workspace.
#include <stdint.h>
#include <string.h>

#include "vectors.h"

// The arguments. Maps are (N, H, W, heads, C) and contiguous. attention.py declares the same fields.
typedef struct {
  int64_t images, heads, channels;
  int64_t q_map[2], q_window[2], kv_map[2], kv_window[2];  // height, width
  int64_t parts;     // work items per window and head; each has its own slice of grad_k and grad_v
  int64_t residual;  // whether to add the queries to the output
  const float *q, *k, *v;
  // (N, H, W, heads, rows of keys) and (W, heads, N, H, columns of keys); NULL without relative positions
  const float *bias_h, *bias_w;
  float *out;
  const float *grad;  // of the output; NULL in the forward pass
  float *grad_q, *grad_k, *grad_v;  // grad_k and grad_v: (parts, N, h, w, heads, C)
  float *grad_bias_h, *grad_bias_w;
} problem;

// One part of the queries of one head of one window. `row` and `column` count windows.
typedef struct { int64_t image, row, column, head, part; } item;

// Up to LANES queries of a window.
typedef struct {
  int64_t count;
  int64_t token[LANES];    // indexes in a map (N, H, W, heads)
  int64_t token_w[LANES];  // indexes in bias_w, (W, heads, N, H)
} tile;

// The memory of one thread.
typedef struct {
  int64_t keys;                    // of a window
  int64_t padded;                  // channels, rounded up to a multiple of COLUMNS
  float *k, *v, *grad_k, *grad_v;  // [keys][padded]
  float *q, *grad;                 // [LANES][padded]
  lanes *q_lanes, *grad_lanes;     // [channels]
  lanes *bias_h, *bias_w;          // [rows of keys], [columns of keys]; later their gradients
  lanes *weights, *grad_scores;    // [keys]
} workspace;


// The index of a token in a map (N, H, W, heads).
static int64_t token_index(const problem *p, const item *it, const int64_t *map, int64_t y, int64_t x) {
  return ((it->image * map[0] + y) * map[1] + x) * p->heads + it->head;
}

// The length of the part of the `index`-th window along an axis that lies on the map.
static int64_t clipped_length(int64_t index, int64_t map, int64_t window) {
  int64_t rest = map - index * window;
  return rest < 0 ? 0 : min(rest, window);
}

// Copy the keys or values of a window from a map to `keys`, with zeros for the padding of the window; or, if
// `to_map`, from `keys` to the map.
static void copy_keys(const problem *p, const item *it, const workspace *w, float *map, float *keys,
                      int to_map) {
  const int64_t *window = p->kv_window, size = p->channels * sizeof *keys;
  int64_t top = it->row * window[0], left = it->column * window[1];
  int64_t height = clipped_length(it->row, p->kv_map[0], window[0]);
  int64_t width = clipped_length(it->column, p->kv_map[1], window[1]);
  if (!to_map) memset(keys, 0, w->keys * w->padded * sizeof *keys);
  for (int64_t y = 0; y < height; y++)
    for (int64_t x = 0; x < width; x++) {
      float *token = map + token_index(p, it, p->kv_map, top + y, left + x) * p->channels;
      float *key = keys + (y * window[1] + x) * w->padded;
      to_map ? memcpy(token, key, size) : memcpy(key, token, size);
    }
}

// Copy the queries of a tile from a map, times a factor, to rows [LANES][padded]; unused elements are zeros.
static void read_rows(const tile *t, const float *map, int64_t channels, float factor, float *rows,
                      int64_t padded) {
  memset(rows, 0, LANES * padded * sizeof *rows);
  for (int64_t i = 0; i < t->count; i++)
    for (int64_t c = 0; c < channels; c++) rows[i * padded + c] = map[t->token[i] * channels + c] * factor;
}

// Copy the same transposed, to [channels][LANES]. `token` holds the indexes of the queries in this map.
static void read_lanes(const tile *t, const int64_t *token, const float *map, int64_t channels, float factor,
                       lanes *values) {
  float *to = (float *)values;
  if (t->count < LANES) memset(values, 0, channels * sizeof *values);
  for (int64_t i = 0; i < t->count; i++)
    for (int64_t c = 0; c < channels; c++) to[c * LANES + i] = map[token[i] * channels + c] * factor;
}

// Copy [channels][LANES] to a map.
static void write_lanes(const tile *t, const int64_t *token, const lanes *values, int64_t channels,
                        float *map) {
  const float *from = (const float *)values;
  for (int64_t i = 0; i < t->count; i++)
    for (int64_t c = 0; c < channels; c++) map[token[i] * channels + c] = from[c * LANES + i];
}
