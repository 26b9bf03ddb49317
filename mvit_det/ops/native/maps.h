// What the kernel is given, and what it reads from maps and writes into them.
#include <stdint.h>
#include <string.h>

#include "vectors.h"

typedef struct {
  int64_t images, heads, channels;
  int64_t q_map[2], q_window[2], kv_map[2], kv_window[2];  // height, width
  int64_t parts;  // of the queries of a window; each has gradients of keys and values of its own
  int64_t residual;  // whether queries are added to the output
  const float *q, *k, *v;
  // (N, H, W, heads, rows of keys) and (W, heads, N, H, columns of keys), or NULL
  const float *bias_h, *bias_w;
  float *out;
  const float *grad;  // of the output; NULL in the forward pass
  float *grad_q, *grad_k, *grad_v, *grad_bias_h, *grad_bias_w;
} problem;

typedef struct { int64_t image, row, column, head, part; } unit;  // of work; row and column are of windows

typedef struct {  // some queries of a window, worked on together
  int64_t count;
  int64_t token[LANES], token_w[LANES];  // their places in a map (N, H, W, heads), and in bias_w
} tile;

typedef struct {  // what a thread works in
  int64_t keys, padded;            // of a window; channels, filled up to a multiple of COLUMNS
  float *k, *v, *grad_k, *grad_v;  // [keys][padded]
  float *q, *grad;                 // [LANES][padded]
  lanes *q_lanes, *grad_lanes;     // [channels]
  lanes *bias_h, *bias_w;          // [rows of keys], [columns of keys]; then their gradients
  lanes *weights, *grad_scores;    // [keys]
} workspace;

static int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t round_up(int64_t a, int64_t b) { return divide_up(a, b) * b; }

// The place of a token in a map (N, H, W, heads).
static int64_t place(const problem *p, const unit *u, const int64_t *map, int64_t y, int64_t x) {
  return ((u->image * map[0] + y) * map[1] + x) * p->heads + u->head;
}

// How much of the `index`-th window of a given length is inside of the map.
static int64_t inside(int64_t index, int64_t map, int64_t window) {
  int64_t left = map - index * window;
  return left < 0 ? 0 : min(left, window);
}

// Copy keys or values of a window from a map, with zeros for those outside of it; or back into one.
static void copy_keys(const problem *p, const unit *u, const workspace *w, float *map, float *keys,
                      int back) {
  const int64_t *window = p->kv_window, size = p->channels * sizeof *keys;
  int64_t top = u->row * window[0], left = u->column * window[1];
  int64_t height = inside(u->row, p->kv_map[0], window[0]);
  int64_t width = inside(u->column, p->kv_map[1], window[1]);
  if (!back) memset(keys, 0, w->keys * w->padded * sizeof *keys);
  for (int64_t y = 0; y < height; y++)
    for (int64_t x = 0; x < width; x++) {
      float *token = map + place(p, u, p->kv_map, top + y, left + x) * p->channels;
      float *key = keys + (y * window[1] + x) * w->padded;
      back ? memcpy(token, key, size) : memcpy(key, token, size);
    }
}

// Copy what belongs to queries, times a factor, to rows [LANES][padded].
static void read_rows(const tile *t, const float *map, int64_t channels, float factor, float *rows,
                      int64_t padded) {
  memset(rows, 0, LANES * padded * sizeof *rows);
  for (int64_t i = 0; i < t->count; i++)
    for (int64_t c = 0; c < channels; c++) rows[i * padded + c] = map[t->token[i] * channels + c] * factor;
}

// The same, with queries in lanes: [channels][LANES]. `token` are their places in this map.
static void read_lanes(const tile *t, const int64_t *token, const float *map, int64_t channels, float factor,
                       lanes *found) {
  float *to = (float *)found;
  if (t->count < LANES) memset(found, 0, channels * sizeof *found);
  for (int64_t i = 0; i < t->count; i++)
    for (int64_t c = 0; c < channels; c++) to[c * LANES + i] = map[token[i] * channels + c] * factor;
}

static void write_lanes(const tile *t, const int64_t *token, const lanes *found, int64_t channels,
                        float *map) {
  const float *from = (const float *)found;
  for (int64_t i = 0; i < t->count; i++)
    for (int64_t c = 0; c < channels; c++) map[token[i] * channels + c] = from[c * LANES + i];
}
