// Winograd's minimal filtering F(2x2, 3x3), arXiv 1509.09308: the transforms between maps and a workspace.
//
// A tile of 2x2 outputs depends on a patch of 4x4 inputs. Patches and filters are transformed to 4x4 numbers
// each; in each of these 16 positions, the sum over the input channels is a matrix product. This takes 16
// multiplications instead of 36. All factors of the transforms are 1 or 1/2, so that little is rounded.
#include <stdlib.h>

#include "vectors.h"

#ifdef __AVX512F__
#define BLOCK_ROWS 12  // rows of a block of a matrix product; its columns are LANES
#else
#define BLOCK_ROWS 6
#endif
#define TILES 96  // of an item of work; a multiple of BLOCK_ROWS

// The arguments. Maps are (N, H, W, C) and contiguous; channel counts are multiples of LANES. convolution.py
// declares the same fields.
typedef struct {
  int64_t images, height, width, in_channels, out_channels;
  const float *input;
  const float *weight;  // (3, 3, in_channels, out_channels)
  const float *bias;    // NULL for none
  float *output;
  const float *grad;  // of the output, for `differentiate`
  float *grad_weight;
} problem;

// The memory of one thread.
typedef struct {
  // Transformed patches and products, [16][TILES][channels]. The LANES between the planes avoid conflicts in the
  // cache, and the last block of a plane may read into them.
  float *inputs, *outputs;
  int64_t input_plane, output_plane;
  float *zeros, *unused;  // a pixel to read and one to write, which stand for those outside the image
} workspace;

static int allocate(const problem *p, workspace *w) {
  w->input_plane = TILES * p->in_channels + LANES, w->output_plane = TILES * p->out_channels + LANES;
  w->inputs = calloc(16 * w->input_plane, sizeof(float));
  w->outputs = calloc(16 * w->output_plane, sizeof(float));
  w->zeros = calloc(p->in_channels + p->out_channels, sizeof(float));
  w->unused = calloc(p->out_channels, sizeof(float));
  return w->inputs && w->outputs && w->zeros && w->unused;
}

static void release(const workspace *w) { free(w->inputs), free(w->outputs), free(w->zeros), free(w->unused); }

static int64_t count_tiles(const problem *p) {
  return p->images * ((p->height + 1) / 2) * ((p->width + 1) / 2);
}

// The pixels of a square of a tile, size x size from `offset` on, in a map of `channels`. Those outside the
// image are replaced by `outside`.
INLINE void find_pixels(const problem *p, int64_t tile, int64_t offset, int size, const float *map,
                        int64_t channels, float *outside, float **pixels) {
  int64_t rows = (p->height + 1) / 2, columns = (p->width + 1) / 2;
  int64_t image = tile / (rows * columns), top = tile / columns % rows * 2 + offset;
  int64_t left = tile % columns * 2 + offset;
  for (int i = 0; i < size * size; i++) {
    int64_t y = top + i / size, x = left + i % size;
    int is_inside = y >= 0 && y < p->height && x >= 0 && x < p->width;
    pixels[i] = is_inside ? (float *)map + ((image * p->height + y) * p->width + x) * channels : outside;
  }
}

// One axis of the transforms, between elements that lie `step` apart.
INLINE void transform_inputs(vector *x, int step) {
  vector a = x[0], b = x[step], c = x[2 * step], d = x[3 * step];
  x[0] = a - c, x[step] = b + c, x[2 * step] = c - b, x[3 * step] = d - b;
}
INLINE void transform_filter(const vector *g, int step, vector *to, int to_step) {
  vector sum = (g[0] + g[2 * step]) * .5f, middle = g[step] * .5f;
  to[0] = g[0], to[to_step] = sum + middle, to[2 * to_step] = sum - middle, to[3 * to_step] = g[2 * step];
}
INLINE void transform_products(const vector *m, int step, vector *to, int to_step) {
  to[0] = m[0] + m[step] + m[2 * step], to[to_step] = m[step] - m[2 * step] + m[3 * step];
}
// The transposes of the last two, for gradients.
INLINE void transform_grads(const vector *y, int step, vector *to, int to_step) {
  vector a = y[0], b = y[step];
  to[0] = a, to[to_step] = a + b, to[2 * to_step] = a - b, to[3 * to_step] = b;
}
INLINE void transform_filter_grads(const vector *u, int step, vector *to, int to_step) {
  vector sum = (u[step] + u[2 * step]) * .5f, difference = (u[step] - u[2 * step]) * .5f;
  to[0] = u[0] + sum, to[to_step] = difference, to[2 * to_step] = sum + u[3 * step];
}

// Transform the filters to [16][out_channels / LANES][in_channels][LANES].
static void read_filters(const problem *p, float *filters) {
  int64_t size = p->in_channels * p->out_channels;
#pragma omp parallel for
  for (int64_t c = 0; c < p->in_channels; c++)
    for (int64_t k = 0; k < p->out_channels; k += VECTOR) {
      vector g[9], rows[12], u[16];
      UNROLL for (int i = 0; i < 9; i++) g[i] = load(p->weight + i * size + c * p->out_channels + k);
      UNROLL for (int i = 0; i < 3; i++) transform_filter(g + i, 3, rows + i, 3);
      UNROLL for (int i = 0; i < 4; i++) transform_filter(rows + 3 * i, 1, u + 4 * i, 1);
      float *to = filters + (k / LANES * p->in_channels + c) * LANES + k % LANES;
      UNROLL for (int i = 0; i < 16; i++) store(to + i * size, u[i]);
    }
}

static void read_inputs(const problem *p, const workspace *w, int64_t first, int64_t count) {
  for (int64_t t = 0; t < count; t++) {
    float *pixels[16];
    find_pixels(p, first + t, -1, 4, p->input, p->in_channels, w->zeros, pixels);
    for (int64_t c = 0; c < p->in_channels; c += VECTOR) {
      vector x[16];
      UNROLL for (int i = 0; i < 16; i++) x[i] = load(pixels[i] + c);
      UNROLL for (int i = 0; i < 4; i++) transform_inputs(x + i, 4);
      UNROLL for (int i = 0; i < 4; i++) transform_inputs(x + 4 * i, 1);
      float *to = w->inputs + t * p->in_channels + c;
      UNROLL for (int i = 0; i < 16; i++) store(to + i * w->input_plane, x[i]);
    }
  }
}

static void write_outputs(const problem *p, const workspace *w, int64_t first, int64_t count) {
  for (int64_t t = 0; t < count; t++) {
    float *pixels[4];
    find_pixels(p, first + t, 0, 2, p->output, p->out_channels, w->unused, pixels);
    for (int64_t k = 0; k < p->out_channels; k += VECTOR) {
      vector m[16], rows[8], y[4], bias = p->bias ? load(p->bias + k) : (vector){0};
      const float *from = w->outputs + t * p->out_channels + k;
      UNROLL for (int i = 0; i < 16; i++) m[i] = load(from + i * w->output_plane);
      UNROLL for (int i = 0; i < 4; i++) transform_products(m + i, 4, rows + i, 4);
      UNROLL for (int i = 0; i < 2; i++) transform_products(rows + 4 * i, 1, y + 2 * i, 1);
      UNROLL for (int i = 0; i < 4; i++) store(pixels[i] + k, y[i] + bias);
    }
  }
}

static void read_grads(const problem *p, const workspace *w, int64_t first, int64_t count) {
  for (int64_t t = 0; t < count; t++) {
    float *pixels[4];
    find_pixels(p, first + t, 0, 2, p->grad, p->out_channels, w->zeros, pixels);
    for (int64_t k = 0; k < p->out_channels; k += VECTOR) {
      vector y[4], rows[8], m[16];
      UNROLL for (int i = 0; i < 4; i++) y[i] = load(pixels[i] + k);
      UNROLL for (int i = 0; i < 2; i++) transform_grads(y + i, 2, rows + i, 2);
      UNROLL for (int i = 0; i < 4; i++) transform_grads(rows + 2 * i, 1, m + 4 * i, 1);
      float *to = w->outputs + t * p->out_channels + k;
      UNROLL for (int i = 0; i < 16; i++) store(to + i * w->output_plane, m[i]);
    }
  }
}

// Write the gradients of the filters, from those of the transformed filters in each thread,
// [threads][16][padded][out_channels].
static void write_filter_grads(const problem *p, const float *grads, int64_t threads, int64_t padded) {
#pragma omp parallel for
  for (int64_t c = 0; c < p->in_channels; c++)
    for (int64_t k = 0; k < p->out_channels; k += VECTOR) {
      vector u[16] = {0}, rows[12], g[9];
      int64_t plane = padded * p->out_channels, at = c * p->out_channels + k;
      for (int64_t thread = 0; thread < threads; thread++)
        UNROLL for (int i = 0; i < 16; i++) u[i] += load(grads + (thread * 16 + i) * plane + at);
      UNROLL for (int i = 0; i < 4; i++) transform_filter_grads(u + i, 4, rows + i, 4);
      UNROLL for (int i = 0; i < 3; i++) transform_filter_grads(rows + 4 * i, 1, g + 3 * i, 1);
      UNROLL for (int i = 0; i < 9; i++)
        store(p->grad_weight + i * p->in_channels * p->out_channels + at, g[i]);
    }
}
