// Exact attention in windows with decomposed relative positions, forward and backward, in float32.
//
// A unit of work is one head of one window, or a part of its queries. LANES queries make a tile, whose scores
// of all keys stay in the cache. Queries lie in the lanes of vectors, so that a softmax adds up vectors,
// never the lanes of one. Maps are (N, H, W, heads, C) and contiguous.
#include <math.h>
#include <stdlib.h>

#include "maps.h"

static float scale(const problem *p) { return 1 / sqrtf(p->channels); }

static void clear_biases(const problem *p, const workspace *w) {
  memset(w->bias_h, 0, p->kv_window[0] * sizeof *w->bias_h);
  memset(w->bias_w, 0, p->kv_window[1] * sizeof *w->bias_w);
}

// Fill `weights` with the exponentials of a softmax; return one over their sums.
static lanes exponentiate(const problem *p, const tile *t, const workspace *w) {
  read_lanes(t, t->token, p->q, p->channels, scale(p) * LOG2_E, w->q_lanes);
  if (p->bias_h) {
    read_lanes(t, t->token, p->bias_h, p->kv_window[0], LOG2_E, w->bias_h);
    read_lanes(t, t->token_w, p->bias_w, p->kv_window[1], LOG2_E, w->bias_w);
  } else {
    clear_biases(p, w);
  }
  lanes largest = {{{0}, {0}}}, sum = largest;
  for (int i = 0; i < 2; i++) largest.half[i] -= INFINITY;
  const lanes *bias_h = w->bias_h, *bias_w = w->bias_w;
  for (int64_t key = 0; key < w->keys; key += ROWS) {
    vector scores[ROWS * 2] = {0};
    multiply(scores, 2, p->channels, w->k + key * w->padded, w->padded, 1, (float *)w->q_lanes, LANES);
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
static void write_sums(const problem *p, const tile *t, const workspace *w, const lanes *weights,
                       const float *rows, const float *factors, const float *added, float *map) {
  for (int64_t c = 0; c < p->channels; c += COLUMNS)
    for (int64_t lane = 0; lane < t->count; lane += ROWS) {
      vector sums[ROWS * 3] = {0};
      multiply(sums, 3, w->keys, (const float *)weights + lane, 1, LANES, rows + c, w->padded);
      int64_t columns = min(COLUMNS, p->channels - c);
      for (int64_t row = 0; row < min(ROWS, t->count - lane); row++) {
        const float *from = (const float *)(sums + row * 3);
        int64_t at = t->token[lane + row] * p->channels + c;
        for (int64_t i = 0; i < columns; i++)
          map[at + i] = from[i] * factors[lane + row] + (p->residual ? added[at + i] : 0);
      }
    }
}

// sums[key] += sum over queries of weights[key][query] * rows[query]
static void add_to_keys(const workspace *w, const lanes *weights, const float *rows, float *sums) {
  int64_t stride = w->padded / VECTOR;
  for (int64_t key = 0; key < w->keys; key += ROWS)
    for (int64_t c = 0; c < w->padded; c += COLUMNS) {
      vector found[ROWS * 3], *to = (vector *)(sums + key * w->padded + c);
      UNROLL for (int row = 0; row < ROWS; row++)
        UNROLL for (int i = 0; i < 3; i++) found[row * 3 + i] = to[row * stride + i];
      multiply(found, 3, LANES, (const float *)(weights + key), LANES, 1, rows + c, w->padded);
      UNROLL for (int row = 0; row < ROWS; row++)
        UNROLL for (int i = 0; i < 3; i++) to[row * stride + i] = found[row * 3 + i];
    }
}

static void forward(const problem *p, const tile *t, const workspace *w) {
  lanes factors = exponentiate(p, t, w);
  write_sums(p, t, w, w->weights, w->v, (float *)&factors, p->q, p->out);
}

static void backward(const problem *p, const tile *t, const workspace *w) {
  read_rows(t, p->q, p->channels, scale(p), w->q, w->padded);
  read_rows(t, p->grad, p->channels, 1, w->grad, w->padded);
  read_lanes(t, t->token, p->grad, p->channels, 1, w->grad_lanes);
  lanes factors = exponentiate(p, t, w), delta = {{{0}, {0}}};  // sums of weights times their gradients
  for (int64_t key = 0; key < w->keys; key += ROWS) {
    vector grads[ROWS * 2] = {0};
    multiply(grads, 2, p->channels, w->v + key * w->padded, w->padded, 1, (float *)w->grad_lanes, LANES);
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
    for (int i = 0; i < 2; i++) delta.half[i] += part.half[i];
  }
  clear_biases(p, w);  // from here on their gradients
  for (int64_t y = 0, key = 0; y < p->kv_window[0]; y++)
    for (int64_t x = 0; x < p->kv_window[1]; x++, key++)
      UNROLL for (int i = 0; i < 2; i++) {
        vector grad = w->weights[key].half[i] * (w->grad_scores[key].half[i] - delta.half[i]);
        w->grad_scores[key].half[i] = grad;
        w->bias_h[y].half[i] += grad;
        w->bias_w[x].half[i] += grad;
      }
  if (p->bias_h) {
    write_lanes(t, t->token, w->bias_h, p->kv_window[0], p->grad_bias_h);
    write_lanes(t, t->token_w, w->bias_w, p->kv_window[1], p->grad_bias_w);
  }
  add_to_keys(w, w->weights, w->grad, w->grad_v);
  add_to_keys(w, w->grad_scores, w->q, w->grad_k);
  for (int i = 0; i < 2; i++) factors.half[i] = (vector){0} + scale(p);
  write_sums(p, t, w, w->grad_scores, w->k, (float *)&factors, p->grad, p->grad_q);
}

static void work(const problem *p, const workspace *w, const unit *u) {
  copy_keys(p, u, w, (float *)p->k, w->k, 0);
  copy_keys(p, u, w, (float *)p->v, w->v, 0);
  if (p->grad) {
    memset(w->grad_k, 0, w->keys * w->padded * sizeof *w->grad_k);
    memset(w->grad_v, 0, w->keys * w->padded * sizeof *w->grad_v);
  }
  const int64_t *map = p->q_map, *window = p->q_window;
  int64_t top = u->row * window[0], left = u->column * window[1];
  int64_t width = inside(u->column, map[1], window[1]), queries = inside(u->row, map[0], window[0]) * width;
  int64_t length = round_up(divide_up(queries, p->parts), LANES), first = u->part * length;
  for (int64_t last = min(queries, first + length); first < last; first += LANES) {
    tile t = {.count = min(LANES, last - first)};
    for (int64_t i = 0; i < t.count; i++) {
      int64_t y = top + (first + i) / width, x = left + (first + i) % width;
      t.token[i] = place(p, u, map, y, x);
      t.token_w[i] = ((x * p->heads + u->head) * p->images + u->image) * map[0] + y;
    }
    (p->grad ? backward : forward)(p, &t, w);
  }
  if (p->grad) {
    int64_t map_size = p->images * p->kv_map[0] * p->kv_map[1] * p->heads * p->channels;
    copy_keys(p, u, w, p->grad_k + u->part * map_size, w->grad_k, 1);
    copy_keys(p, u, w, p->grad_v + u->part * map_size, w->grad_v, 1);
  }
}

static void *take(char **at, int64_t bytes) {
  *at += bytes;
  return *at - bytes;
}

// Lay out a workspace from `memory` on; return its bytes.
static int64_t lay_out(const problem *p, char *memory, workspace *w) {
  w->keys = p->kv_window[0] * p->kv_window[1], w->padded = round_up(p->channels, COLUMNS);
  char *at = memory;
  int64_t rows = round_up(w->keys, ROWS), row = w->padded * sizeof(float);
  w->k = take(&at, rows * row), w->grad_k = take(&at, rows * row);
  w->v = take(&at, rows * row), w->grad_v = take(&at, rows * row);
  w->q = take(&at, LANES * row), w->grad = take(&at, LANES * row);
  w->q_lanes = take(&at, p->channels * sizeof(lanes)), w->grad_lanes = take(&at, p->channels * sizeof(lanes));
  w->bias_h = take(&at, p->kv_window[0] * sizeof(lanes));
  w->bias_w = take(&at, p->kv_window[1] * sizeof(lanes));
  w->weights = take(&at, rows * sizeof(lanes)), w->grad_scores = take(&at, rows * sizeof(lanes));
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
