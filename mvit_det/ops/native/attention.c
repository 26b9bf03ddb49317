// Exact window attention with decomposed relative positions on CPUs, forward and backward, in float32.
//
// Threads take work items: one head of one window, or a part of its queries. A work item copies the keys and
// values of the window, and processes its queries in tiles of LANES. The scores of a tile, [keys][LANES],
// stay in the cache. They include all keys of the window, so that no online softmax is needed. Each query has
// a SIMD lane, so that a softmax needs no reduction across lanes. The backward pass recomputes the scores.
#include <math.h>
#include <stdlib.h>

#include "maps.h"

static float scale(const problem *p) { return 1 / sqrtf(p->channels); }

static void clear_biases(const problem *p, const workspace *w) {
  memset(w->bias_h, 0, p->kv_window[0] * sizeof *w->bias_h);
  memset(w->bias_w, 0, p->kv_window[1] * sizeof *w->bias_w);
}

// Fill `weights` with the unnormalized softmax of a tile's scores; return the reciprocals of its sums.
static lanes compute_weights(const problem *p, const tile *t, const workspace *w) {
  read_lanes(t, t->token, p->q, p->channels, scale(p) * LOG2_E, w->q_lanes);  // scores in base 2
  if (p->bias_h) {
    read_lanes(t, t->token, p->bias_h, p->kv_window[0], LOG2_E, w->bias_h);
    read_lanes(t, t->token_w, p->bias_w, p->kv_window[1], LOG2_E, w->bias_w);
  } else {
    clear_biases(p, w);
  }
  lanes max = {{{0}, {0}}}, sum = max;
  for (int i = 0; i < 2; i++) max.half[i] -= INFINITY;
  const lanes *bias_h = w->bias_h, *bias_w = w->bias_w;
  for (int64_t key = 0; key < w->keys; key += ROWS) {
    vector scores[ROWS * 2] = {0};
    multiply(scores, 2, p->channels, w->k + key * w->padded, w->padded, 1, (float *)w->q_lanes, LANES);
    UNROLL for (int row = 0; row < ROWS; row++) {
      if (key + row == w->keys) break;
      UNROLL for (int i = 0; i < 2; i++) {
        vector score = scores[row * 2 + i] + (bias_h->half[i] + bias_w->half[i]);
        w->weights[key + row].half[i] = score;
        max.half[i] = maximum(max.half[i], score);
      }
      if (++bias_w == w->bias_w + p->kv_window[1]) bias_w = w->bias_w, bias_h++;
    }
  }
  for (int64_t key = 0; key < w->keys; key += ROWS)
    UNROLL for (int i = 0; i < 2; i++) {
      vector partial_sum = {0};  // reduces the rounding error of a long sum
      for (int64_t row = key; row < min(key + ROWS, w->keys); row++) {
        vector weight = exp2_vector(w->weights[row].half[i] - max.half[i]);
        w->weights[row].half[i] = weight;
        partial_sum += weight;
      }
      sum.half[i] += partial_sum;
    }
  for (int i = 0; i < 2; i++) sum.half[i] = 1 / sum.half[i];
  return sum;
}

// map[query] = factors[query] * (sum over keys of weights[key][query] * rows[key]) + residual[query]
// The residual is added only if p->residual.
static void write_weighted_sums(const problem *p, const tile *t, const workspace *w, const lanes *weights,
                                const float *rows, const float *factors, const float *residual,
                                float *map) {
  for (int64_t c = 0; c < p->channels; c += COLUMNS)
    for (int64_t lane = 0; lane < t->count; lane += ROWS) {
      vector acc[ROWS * 3] = {0};
      multiply(acc, 3, w->keys, (const float *)weights + lane, 1, LANES, rows + c, w->padded);
      int64_t columns = min(COLUMNS, p->channels - c);
      for (int64_t row = 0; row < min(ROWS, t->count - lane); row++) {
        const float *from = (const float *)(acc + row * 3);
        int64_t to = t->token[lane + row] * p->channels + c;
        for (int64_t i = 0; i < columns; i++)
          map[to + i] = from[i] * factors[lane + row] + (p->residual ? residual[to + i] : 0);
      }
    }
}

// sums[key] += sum over queries of weights[key][query] * rows[query]
static void add_weighted_sums(const workspace *w, const lanes *weights, const float *rows, float *sums) {
  int64_t stride = w->padded / VECTOR;
  for (int64_t key = 0; key < w->keys; key += ROWS)
    for (int64_t c = 0; c < w->padded; c += COLUMNS) {
      vector acc[ROWS * 3], *to = (vector *)(sums + key * w->padded + c);
      UNROLL for (int row = 0; row < ROWS; row++)
        UNROLL for (int i = 0; i < 3; i++) acc[row * 3 + i] = to[row * stride + i];
      multiply(acc, 3, LANES, (const float *)(weights + key), LANES, 1, rows + c, w->padded);
      UNROLL for (int row = 0; row < ROWS; row++)
        UNROLL for (int i = 0; i < 3; i++) to[row * stride + i] = acc[row * 3 + i];
    }
}

static void forward(const problem *p, const tile *t, const workspace *w) {
  lanes factors = compute_weights(p, t, w);
  write_weighted_sums(p, t, w, w->weights, w->v, (float *)&factors, p->q, p->out);
}

static void backward(const problem *p, const tile *t, const workspace *w) {
  read_rows(t, p->q, p->channels, scale(p), w->q, w->padded);
  read_rows(t, p->grad, p->channels, 1, w->grad, w->padded);
  read_lanes(t, t->token, p->grad, p->channels, 1, w->grad_lanes);
  lanes factors = compute_weights(p, t, w);
  lanes delta = {{{0}, {0}}};  // sum over keys of the weights times their gradients
  for (int64_t key = 0; key < w->keys; key += ROWS) {
    vector grads[ROWS * 2] = {0};  // of the weights
    multiply(grads, 2, p->channels, w->v + key * w->padded, w->padded, 1, (float *)w->grad_lanes, LANES);
    lanes partial_sum = {{{0}, {0}}};
    UNROLL for (int row = 0; row < ROWS; row++) {
      if (key + row == w->keys) break;
      UNROLL for (int i = 0; i < 2; i++) {
        vector weight = w->weights[key + row].half[i] * factors.half[i];
        w->weights[key + row].half[i] = weight;
        w->grad_scores[key + row].half[i] = grads[row * 2 + i];
        partial_sum.half[i] += weight * grads[row * 2 + i];
      }
    }
    for (int i = 0; i < 2; i++) delta.half[i] += partial_sum.half[i];
  }
  clear_biases(p, w);  // bias_h and bias_w accumulate their gradients from here on
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
  add_weighted_sums(w, w->weights, w->grad, w->grad_v);
  add_weighted_sums(w, w->grad_scores, w->q, w->grad_k);
  for (int i = 0; i < 2; i++) factors.half[i] = (vector){0} + scale(p);
  write_weighted_sums(p, t, w, w->grad_scores, w->k, (float *)&factors, p->grad, p->grad_q);
}

static void run_item(const problem *p, const workspace *w, const item *it) {
  copy_keys(p, it, w, (float *)p->k, w->k, 0);
  copy_keys(p, it, w, (float *)p->v, w->v, 0);
  if (p->grad) {
    memset(w->grad_k, 0, w->keys * w->padded * sizeof *w->grad_k);
    memset(w->grad_v, 0, w->keys * w->padded * sizeof *w->grad_v);
  }
  const int64_t *map = p->q_map, *window = p->q_window;
  int64_t top = it->row * window[0], left = it->column * window[1];
  int64_t width = clipped_length(it->column, map[1], window[1]);
  int64_t queries = clipped_length(it->row, map[0], window[0]) * width;
  int64_t length = round_up(divide_up(queries, p->parts), LANES), first = it->part * length;
  for (int64_t last = min(queries, first + length); first < last; first += LANES) {
    tile t = {.count = min(LANES, last - first)};
    for (int64_t i = 0; i < t.count; i++) {
      int64_t y = top + (first + i) / width, x = left + (first + i) % width;
      t.token[i] = token_index(p, it, map, y, x);
      t.token_w[i] = ((x * p->heads + it->head) * p->images + it->image) * map[0] + y;
    }
    (p->grad ? backward : forward)(p, &t, w);
  }
  if (p->grad) {
    int64_t map_size = p->images * p->kv_map[0] * p->kv_map[1] * p->heads * p->channels;
    copy_keys(p, it, w, p->grad_k + it->part * map_size, w->grad_k, 1);
    copy_keys(p, it, w, p->grad_v + it->part * map_size, w->grad_v, 1);
  }
}

static void *take(char **free_memory, int64_t bytes) {
  *free_memory += bytes;
  return *free_memory - bytes;
}

// Lay out a workspace from `memory` on; return its size in bytes.
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

// Run the forward pass, or with p->grad the backward pass; return whether memory for a workspace was missing.
int attend(const problem *p) {
  int64_t rows = divide_up(p->q_map[0], p->q_window[0]), columns = divide_up(p->q_map[1], p->q_window[1]);
  int64_t items = p->images * rows * columns * p->heads * p->parts;
  int failed = 0;
#pragma omp parallel reduction(| : failed)
  {
    workspace w;
    char *memory = aligned_alloc(sizeof(vector), lay_out(p, NULL, &w));
    if (memory) lay_out(p, memory, &w);
    failed = !memory;
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < items; i++) {
      int64_t window = i / p->parts / p->heads, row = window / columns;
      item it = {row / rows, row % rows, window % columns, i / p->parts % p->heads, i % p->parts};
      if (memory) run_item(p, &w, &it);
    }
    free(memory);
  }
  return failed;
}
