// 3x3 convolution with stride 1 and padding 1, and the gradient of its weight.
#include <omp.h>

#include "winograd.h"

// to[BLOCK_ROWS][LANES] = a @ b, or += if `add`. The element (row, d) of a is at a[row * a_row + d * a_depth];
// rows of b and of `to` begin b_depth and to_row apart.
INLINE void multiply_block(int64_t depth, const float *a, int64_t a_row, int64_t a_depth, const float *b,
                           int64_t b_depth, float *to, int64_t to_row, const int add) {
  vector acc[BLOCK_ROWS * 2] = {0};
  for (int64_t d = 0; d < depth; d++, a += a_depth, b += b_depth)
    UNROLL for (int row = 0; row < BLOCK_ROWS; row++)
      UNROLL for (int i = 0; i < 2; i++) acc[row * 2 + i] += a[row * a_row] * load(b + i * VECTOR);
  UNROLL for (int row = 0; row < BLOCK_ROWS; row++)
    UNROLL for (int i = 0; i < 2; i++) {
      float *at = to + row * to_row + i * VECTOR;
      store(at, add ? load(at) + acc[row * 2 + i] : acc[row * 2 + i]);
    }
}

static void multiply_filters(const problem *p, const workspace *w, int64_t count, const float *filters) {
  for (int64_t i = 0; i < 16; i++)
    for (int64_t k = 0; k < p->out_channels; k += LANES)
      for (int64_t t = 0; t < count; t += BLOCK_ROWS)
        multiply_block(p->in_channels, w->inputs + i * w->input_plane + t * p->in_channels, p->in_channels, 1,
                       filters + (i * p->out_channels + k) * p->in_channels, LANES,
                       w->outputs + i * w->output_plane + t * p->out_channels + k, p->out_channels, 0);
}

static void add_filter_grads(const problem *p, const workspace *w, int64_t count, float *grads,
                             int64_t padded) {
  for (int64_t i = 0; i < 16; i++)
    for (int64_t k = 0; k < p->out_channels; k += LANES)
      for (int64_t c = 0; c < p->in_channels; c += BLOCK_ROWS)
        multiply_block(count, w->inputs + i * w->input_plane + c, 1, p->in_channels,
                       w->outputs + i * w->output_plane + k, p->out_channels,
                       grads + (i * padded + c) * p->out_channels + k, p->out_channels, 1);
}

// Compute the output; return whether memory was missing.
int convolve(const problem *p) {
  int64_t tiles = count_tiles(p);
  float *filters = malloc(16 * p->in_channels * p->out_channels * sizeof(float));
  if (!filters) return 1;
  read_filters(p, filters);
  int failed = 0;
#pragma omp parallel reduction(| : failed)
  {
    workspace w;
    failed = !allocate(p, &w);
#pragma omp for schedule(dynamic)
    for (int64_t first = 0; first < tiles; first += TILES) {
      int64_t count = min(TILES, tiles - first);
      if (failed) continue;
      read_inputs(p, &w, first, count);
      multiply_filters(p, &w, count, filters);
      write_outputs(p, &w, first, count);
    }
    release(&w);
  }
  free(filters);
  return failed;
}

// Compute the gradient of the weight; return whether memory was missing. The order of the sums depends only on
// the number of threads.
int differentiate(const problem *p) {
  int64_t items = divide_up(count_tiles(p), TILES), padded = round_up(p->in_channels, BLOCK_ROWS);
  int64_t size = 16 * padded * p->out_channels, threads = omp_get_max_threads();
  float *grads = calloc(threads * size, sizeof(float));  // of each thread
  if (!grads) return 1;
  int failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
  {
    workspace w;
    failed = !allocate(p, &w);
#pragma omp for schedule(static)
    for (int64_t item = 0; item < items; item++) {
      int64_t first = item * TILES, count = min(TILES, count_tiles(p) - first);
      if (failed) continue;
      read_inputs(p, &w, first, count);
      read_grads(p, &w, first, count);
      add_filter_grads(p, &w, count, grads + omp_get_thread_num() * size, padded);
    }
    release(&w);
  }
  write_filter_grads(p, grads, threads, padded);
  free(grads);
  return failed;
}
