// Exact attention in windows with decomposed relative positions, forward and backward, in float32.
//
// A thread takes one head of one window, and LANES of its queries at a time: their scores of all keys stay in
// the cache. Queries lie in the lanes of vectors, so that a softmax adds vectors up, never the lanes of one,
// and every product is one function, `multiply`. Maps are (N, H, W, heads, C) and contiguous.
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vectors.h"

typedef struct {
  int64_t images, heads, channels;
  int64_t q_map[2], q_window[2], kv_map[2], kv_window[2];  // height, width
  int64_t parts;  // that the queries of a window are cut into; each has gradients of keys and values of its own
  int64_t residual;  // whether queries are added to the output
  const float *q, *k, *v;
  const float *bias_h, *bias_w;  // (N, H, W, heads, rows of keys), (W, heads, N, H, columns of keys); or NULL
  float *out;
  const float *grad;  // of the output; NULL in the forward pass
  float *grad_q, *grad_k, *grad_v, *grad_bias_h, *grad_bias_w;
} problem;

typedef struct { int64_t image, row, column, head, part; } unit;  // of work; row and column are of windows

typedef struct {  // queries that are worked on together
  int64_t count;
  int64_t token[LANES], token_w[LANES];  // their places in a map (N, H, W, heads), and in bias_w
} block;

typedef struct {  // of a thread
  int64_t keys, width;  // in a window; channels filled up to a multiple of COLUMNS
  float *k, *v, *grad_k, *grad_v;   // [keys][width]
  float *q, *grad;                  // [LANES][width]
  lanes *q_columns, *grad_columns;  // [channels]
  lanes *bias_h, *bias_w;           // [rows of keys], [columns of keys]
  lanes *weights, *grad_scores;     // [keys]
} workspace;

static int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t round_up(int64_t a, int64_t b) { return divide_up(a, b) * b; }

// The place of a window's token in a map (N, H, W, heads).
static int64_t place(const problem *p, const unit *u, const int64_t *map, const int64_t *window, int64_t y,
                     int64_t x) {
  y += u->row * window[0], x += u->column * window[1];
  return ((u->image * map[0] + y) * map[1] + x) * p->heads + u->head;
}

// How much of the `index`-th window of a given length is inside of the map.
static int64_t inside(int64_t index, int64_t map, int64_t window) {
  int64_t left = map - index * window;
  return left < 0 ? 0 : min(left, window);
}

// Copy keys or values of a window from a map, with zeros for those outside of it; or back into one.
static void copy_keys(const problem *p, const unit *u, const workspace *w, float *map, float *keys, int back) {
  const int64_t *window = p->kv_window, size = p->channels * sizeof *keys;
  int64_t height = inside(u->row, p->kv_map[0], window[0]), width = inside(u->column, p->kv_map[1], window[1]);
  if (!back) memset(keys, 0, w->keys * w->width * sizeof *keys);
  for (int64_t y = 0; y < height; y++)
    for (int64_t x = 0; x < width; x++) {
      float *token = map + place(p, u, p->kv_map, window, y, x) * p->channels;
      float *key = keys + (y * window[1] + x) * w->width;
      back ? memcpy(token, key, size) : memcpy(key, token, size);
    }
}

// Copy what belongs to queries, times a factor, to rows [LANES][width].
static void read_rows(const block *b, const float *map, int64_t channels, float factor, float *rows,
                      int64_t width) {
  memset(rows, 0, LANES * width * sizeof *rows);
  for (int64_t i = 0; i < b->count; i++)
    for (int64_t c = 0; c < channels; c++) rows[i * width + c] = map[b->token[i] * channels + c] * factor;
}

// The same to columns [channels][LANES].
static void read_columns(const block *b, const int64_t *token, const float *map, int64_t channels, float factor,
                         lanes *columns) {
  float *to = (float *)columns;
  if (b->count < LANES) memset(columns, 0, channels * sizeof *columns);
  for (int64_t i = 0; i < b->count; i++)
    for (int64_t c = 0; c < channels; c++) to[c * LANES + i] = map[token[i] * channels + c] * factor;
}

static void write_columns(const block *b, const int64_t *token, const lanes *columns, int64_t channels,
                          float *map) {
  const float *from = (const float *)columns;
  for (int64_t i = 0; i < b->count; i++)
    for (int64_t c = 0; c < channels; c++) map[token[i] * channels + c] = from[c * LANES + i];
}

static float scale(const problem *p) { return 1 / sqrtf(p->channels); }

// Fill `weights` with the powers that a softmax adds up; return one over their sums.
static lanes exponentiate(const problem *p, const block *b, const workspace *w) {
  read_columns(b, b->token, p->q, p->channels, scale(p) * LOG2_E, w->q_columns);
  memset(w->bias_h, 0, p->kv_window[0] * sizeof *w->bias_h);
  memset(w->bias_w, 0, p->kv_window[1] * sizeof *w->bias_w);
  if (p->bias_h) {
    read_columns(b, b->token, p->bias_h, p->kv_window[0], LOG2_E, w->bias_h);
    read_columns(b, b->token_w, p->bias_w, p->kv_window[1], LOG2_E, w->bias_w);
  }
  lanes largest = {{{0}, {0}}}, sum = largest;
  for (int i = 0; i < 2; i++) largest.half[i] -= INFINITY;
  const lanes *bias_h = w->bias_h, *bias_w = w->bias_w;
  for (int64_t key = 0; key < w->keys; key += ROWS) {
    vector scores[ROWS * 2] = {0};
    multiply(scores, 2, p->channels, w->k + key * w->width, w->width, 1, (float *)w->q_columns, LANES);
    UNROLL for (int row = 0; row < ROWS; row++) {
      if (key + row == w->keys) break;
      UNROLL for (int i = 0; i < 2; i++) {
        vector score = scores[row * 2 + i] + (bias_h->half[i] + bias_w->half[i]);
        w->weights[key + row].half[i] = score;
        largest.half[i] = larger(largest.half[i], score);
      }
      if (++bias_w == w->bias_w + p->kv_window[1]) bias_w = w->bias_w, bias_h++;
    }
  }
  for (int64_t key = 0; key < w->keys; key += ROWS)
    UNROLL for (int i = 0; i < 2; i++) {
      vector part = {0};  // some at a time, which rounds less
      for (int64_t row = key; row < min(key + ROWS, w->keys); row++) {
        vector power = power_of_2(w->weights[row].half[i] - largest.half[i]);
        w->weights[row].half[i] = power;
        part += power;
      }
      sum.half[i] += part;
    }
  for (int i = 0; i < 2; i++) sum.half[i] = 1 / sum.half[i];
  return sum;
}

// map[query] = factors[query] * (sum over keys of weights[key][query] * rows[key]) + added[query]
static void write_sums(const problem *p, const block *b, const workspace *w, const lanes *weights,
                       const float *rows, const float *factors, const float *added, float *map) {
  for (int64_t c = 0; c < p->channels; c += COLUMNS)
    for (int64_t lane = 0; lane < b->count; lane += ROWS) {
      vector sums[ROWS * 3] = {0};
      multiply(sums, 3, w->keys, (const float *)weights + lane, 1, LANES, rows + c, w->width);
      int64_t columns = min(COLUMNS, p->channels - c);
      for (int64_t row = 0; row < min(ROWS, b->count - lane); row++) {
        const float *from = (const float *)(sums + row * 3);
        int64_t at = b->token[lane + row] * p->channels + c;
        for (int64_t i = 0; i < columns; i++)
          map[at + i] = from[i] * factors[lane + row] + (p->residual ? added[at + i] : 0);
      }
    }
}

// sums[key] += sum over queries of weights[key][query] * rows[query]
static void add_to_keys(const workspace *w, const lanes *weights, const float *rows, float *sums) {
  int64_t stride = w->width / VECTOR;
  for (int64_t key = 0; key < w->keys; key += ROWS)
    for (int64_t c = 0; c < w->width; c += COLUMNS) {
      vector found[ROWS * 3], *to = (vector *)(sums + key * w->width + c);
      UNROLL for (int row = 0; row < ROWS; row++)
        UNROLL for (int i = 0; i < 3; i++) found[row * 3 + i] = to[row * stride + i];
      multiply(found, 3, LANES, (const float *)(weights + key), LANES, 1, rows + c, w->width);
      UNROLL for (int row = 0; row < ROWS; row++)
        UNROLL for (int i = 0; i < 3; i++) to[row * stride + i] = found[row * 3 + i];
    }
}

static void forward(const problem *p, const block *b, const workspace *w) {
  lanes factors = exponentiate(p, b, w);
  write_sums(p, b, w, w->weights, w->v, (float *)&factors, p->q, p->out);
}

static void backward(const problem *p, const block *b, const workspace *w) {
  read_rows(b, p->q, p->channels, scale(p), w->q, w->width);
  read_rows(b, p->grad, p->channels, 1, w->grad, w->width);
  read_columns(b, b->token, p->grad, p->channels, 1, w->grad_columns);
  lanes factors = exponentiate(p, b, w), mean = {{{0}, {0}}};  // mean: of a query's gradients of weights
  for (int64_t key = 0; key < w->keys; key += ROWS) {
    vector grads[ROWS * 2] = {0};
    multiply(grads, 2, p->channels, w->v + key * w->width, w->width, 1, (float *)w->grad_columns, LANES);
    lanes part = {{{0}, {0}}};
    UNROLL for (int row = 0; row < ROWS; row++) {
      if (key + row == w->keys) break;
      UNROLL for (int i = 0; i < 2; i++) {
        vector weight = w->weights[key + row].half[i] * factors.half[i];
        w->weights[key + row].half[i] = weight;
        w->grad_scores[key + row].half[i] = grads[row * 2 + i];
        part.half[i] += weight * grads[row * 2 + i];
      }
    }
    for (int i = 0; i < 2; i++) mean.half[i] += part.half[i];
  }
  memset(w->bias_h, 0, p->kv_window[0] * sizeof *w->bias_h);
  memset(w->bias_w, 0, p->kv_window[1] * sizeof *w->bias_w);
  for (int64_t y = 0, key = 0; y < p->kv_window[0]; y++)
    for (int64_t x = 0; x < p->kv_window[1]; x++, key++)
      UNROLL for (int i = 0; i < 2; i++) {
        vector grad = w->weights[key].half[i] * (w->grad_scores[key].half[i] - mean.half[i]);
        w->grad_scores[key].half[i] = grad;
        w->bias_h[y].half[i] += grad;
        w->bias_w[x].half[i] += grad;
      }
  if (p->bias_h) {
    write_columns(b, b->token, w->bias_h, p->kv_window[0], p->grad_bias_h);
    write_columns(b, b->token_w, w->bias_w, p->kv_window[1], p->grad_bias_w);
  }
  add_to_keys(w, w->weights, w->grad, w->grad_v);
  add_to_keys(w, w->grad_scores, w->q, w->grad_k);
  for (int i = 0; i < 2; i++) factors.half[i] = (vector){0} + scale(p);
  write_sums(p, b, w, w->grad_scores, w->k, (float *)&factors, p->grad, p->grad_q);
}

static void work(const problem *p, const workspace *w, const unit *u) {
  copy_keys(p, u, w, (float *)p->k, w->k, 0);
  copy_keys(p, u, w, (float *)p->v, w->v, 0);
  if (p->grad) {
    memset(w->grad_k, 0, w->keys * w->width * sizeof *w->grad_k);
    memset(w->grad_v, 0, w->keys * w->width * sizeof *w->grad_v);
  }
  const int64_t *map = p->q_map, *window = p->q_window;
  int64_t width = inside(u->column, map[1], window[1]), queries = inside(u->row, map[0], window[0]) * width;
  int64_t length = round_up(divide_up(queries, p->parts), LANES), first = u->part * length;
  for (int64_t last = min(queries, first + length); first < last; first += LANES) {
    block b = {.count = min(LANES, last - first)};
    for (int64_t i = 0; i < b.count; i++) {
      int64_t y = (first + i) / width, x = (first + i) % width;
      b.token[i] = place(p, u, map, window, y, x);
      y += u->row * window[0], x += u->column * window[1];
      b.token_w[i] = ((x * p->heads + u->head) * p->images + u->image) * map[0] + y;
    }
    (p->grad ? backward : forward)(p, &b, w);
  }
  if (p->grad) {
    int64_t map_size = p->images * p->kv_map[0] * p->kv_map[1] * p->heads * p->channels;
    copy_keys(p, u, w, p->grad_k + u->part * map_size, w->grad_k, 1);
    copy_keys(p, u, w, p->grad_v + u->part * map_size, w->grad_v, 1);
  }
}

// Lay out a workspace from `memory` on; return its bytes.
static int64_t lay_out(const problem *p, char *memory, workspace *w) {
  char *at = memory;
  w->keys = p->kv_window[0] * p->kv_window[1], w->width = round_up(p->channels, COLUMNS);
  int64_t rows = round_up(w->keys, ROWS);
  float **maps[] = {&w->k, &w->v, &w->grad_k, &w->grad_v};
  for (int i = 0; i < (p->grad ? 4 : 2); i++) *maps[i] = (float *)at, at += rows * w->width * sizeof(float);
  w->q = (float *)at, at += LANES * w->width * sizeof(float);
  w->grad = (float *)at, at += LANES * w->width * sizeof(float);
  w->q_columns = (lanes *)at, at += p->channels * sizeof(lanes);
  w->grad_columns = (lanes *)at, at += p->channels * sizeof(lanes);
  w->bias_h = (lanes *)at, at += p->kv_window[0] * sizeof(lanes);
  w->bias_w = (lanes *)at, at += p->kv_window[1] * sizeof(lanes);
  w->weights = (lanes *)at, at += rows * sizeof(lanes);
  w->grad_scores = (lanes *)at, at += rows * sizeof(lanes);
  return at - memory;
}

// Return whether there was too little memory.
int attend(const problem *p) {
  int64_t rows = divide_up(p->q_map[0], p->q_window[0]), columns = divide_up(p->q_map[1], p->q_window[1]);
  int64_t units = p->images * rows * columns * p->heads * p->parts;
  int failed = 0;
#pragma omp parallel reduction(| : failed)
  {
    workspace w;
    char *memory = aligned_alloc(sizeof(vector), lay_out(p, NULL, &w));
    if (memory) lay_out(p, memory, &w);
    failed = !memory;
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < units; i++) {
      int64_t window = i / p->parts / p->heads, row = window / columns;
      unit u = {row / rows, row % rows, window % columns, i / p->parts % p->heads, i % p->parts};
      if (memory) work(p, &w, &u);
    }
    free(memory);
  }
  return failed;
}
