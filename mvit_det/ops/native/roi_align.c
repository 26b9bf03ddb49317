// RoIAlign, arXiv 1703.06870, section 3, with samples aligned to half pixels, on channels-last maps.
//
// The samples of a bin lie on a regular grid, and each is interpolated linearly along both axes. Its mean is
// therefore a sum over the cells of the map with one weight per row and one per column.
#include <math.h>
#include <stdlib.h>

#include "vectors.h"

#define BLOCK 8          // vectors of channels that are summed together
#define MAX_LEVELS 8
#define MAX_SAMPLES 4096  // of a bin along an axis

// The arguments. Maps are (N, H, W, C) and contiguous; C is a multiple of LANES. roi_align.py declares the same
// fields.
typedef struct {
  int64_t images, channels, regions, size;  // size: bins along an axis
  int64_t heights[MAX_LEVELS], widths[MAX_LEVELS];
  float scales[MAX_LEVELS];  // from px of the image to cells of the map
  const float *maps[MAX_LEVELS];
  const float *boxes;            // (R, 4), XYXY in px
  const int64_t *image, *level;  // (R,)
  float *output;                 // (R, size, size, C)
  const float *grad;             // of the output
  float *grad_maps[MAX_LEVELS];  // zeros
} problem;

// The cells that the bins of a region cover along an axis. Bin i covers `count[i]` cells from `first[i]` on,
// with the weights from `weights[i * cells]` on.
typedef struct { int64_t cells, *first, *count; float *weights; } axis;


static int allocate(axis *a, int64_t size, int64_t cells) {
  a->first = malloc(size * sizeof *a->first), a->count = malloc(size * sizeof *a->count);
  a->weights = malloc(size * cells * sizeof *a->weights);
  return a->first && a->count && a->weights;
}

static void release(const axis *a) { free(a->first), free(a->count), free(a->weights); }

// Fill in an axis for a region from `low` to `high`, in cells; `cells` is the length of the map.
static void weigh_cells(axis *a, int64_t size, float low, float high, int64_t cells) {
  float bin = (high - low) / size;
  int64_t samples = bin > 0 && cells > 0 ? (int64_t)fminf(ceilf(bin), MAX_SAMPLES) : 0;
  a->cells = cells;
  for (int64_t i = 0; i < size; i++) {
    float *weights = a->weights + i * cells;
    int64_t end = 0;
    a->first[i] = cells;
    for (int64_t s = 0; s < samples; s++) {
      float at = low - .5f + i * bin + (s + .5f) * bin / samples;
      if (!(at >= -1 && at <= cells)) continue;  // counts as zero
      at = fminf(fmaxf(at, 0), cells - 1);
      int64_t cell = min(at, cells - 1), next = min(cell + 1, cells - 1);
      if (!end) a->first[i] = end = cell;
      for (; end <= next; end++) weights[end - a->first[i]] = 0;
      weights[cell - a->first[i]] += (1 - (at - cell)) / samples;
      weights[next - a->first[i]] += (at - cell) / samples;
    }
    a->count[i] = end > a->first[i] ? end - a->first[i] : 0;
  }
}

static int64_t longest_side(const problem *p) {
  int64_t longest = 0;
  for (int i = 0; i < MAX_LEVELS; i++) {
    if (p->heights[i] > longest) longest = p->heights[i];
    if (p->widths[i] > longest) longest = p->widths[i];
  }
  return longest;
}

// Whether a region lies in an image, on a level. A box that is NaN or inside out lies on none, and counts as zero.
static int is_on_map(const problem *p, int64_t region) {
  int64_t image = p->image[region], level = p->level[region];
  return image >= 0 && image < p->images && level >= 0 && level < MAX_LEVELS;
}

// Fill in both axes for a region.
static void weigh_region(const problem *p, int64_t region, axis *rows, axis *columns) {
  const float *box = p->boxes + 4 * region;
  int64_t level = p->level[region];
  float scale = p->scales[level];
  weigh_cells(columns, p->size, box[0] * scale, box[2] * scale, p->widths[level]);
  weigh_cells(rows, p->size, box[1] * scale, box[3] * scale, p->heights[level]);
}

// The offset in its map of the first cell of a bin.
INLINE int64_t first_cell(const problem *p, int64_t region, const axis *rows, int64_t y, const axis *columns,
                          int64_t x) {
  int64_t level = p->level[region], row = p->image[region] * p->heights[level] + rows->first[y];
  return (row * p->widths[level] + columns->first[x]) * p->channels;
}

static void pool_region(const problem *p, int64_t region, const axis *rows, const axis *columns) {
  int64_t level = p->level[region], row_size = p->widths[level] * p->channels;
  for (int64_t y = 0; y < p->size; y++)
    for (int64_t x = 0; x < p->size; x++) {
      const float *map = p->maps[level] + first_cell(p, region, rows, y, columns, x);
      float *bin = p->output + ((region * p->size + y) * p->size + x) * p->channels;
      const float *row_weights = rows->weights + y * rows->cells;
      const float *column_weights = columns->weights + x * columns->cells;
      for (int64_t c = 0; c < p->channels; c += BLOCK * VECTOR) {
        const int64_t vectors = min(BLOCK, (p->channels - c) / VECTOR);
        vector sums[BLOCK] = {0};
        for (int64_t i = 0; i < rows->count[y]; i++)
          for (int64_t j = 0; j < columns->count[x]; j++) {
            const float *cell = map + i * row_size + j * p->channels + c;
            float weight = row_weights[i] * column_weights[j];
            if (vectors == BLOCK)
              UNROLL for (int v = 0; v < BLOCK; v++) sums[v] += weight * load(cell + v * VECTOR);
            else
              for (int v = 0; v < vectors; v++) sums[v] += weight * load(cell + v * VECTOR);
          }
        for (int v = 0; v < vectors; v++) store(bin + c + v * VECTOR, sums[v]);
      }
    }
}

// Pool all regions; return whether memory was missing.
int pool(const problem *p) {
  int64_t cells = longest_side(p);
  int failed = 0;
#pragma omp parallel reduction(| : failed)
  {
    axis rows, columns;
    failed = !allocate(&rows, p->size, cells) | !allocate(&columns, p->size, cells);
#pragma omp for schedule(dynamic, 4)
    for (int64_t region = 0; region < p->regions; region++) {
      if (failed) continue;
      if (!is_on_map(p, region)) {
        int64_t size = p->size * p->size * p->channels;
        memset(p->output + region * size, 0, size * sizeof(float));
        continue;
      }
      weigh_region(p, region, &rows, &columns);
      pool_region(p, region, &rows, &columns);
    }
    release(&rows), release(&columns);
  }
  return failed;
}

// Add the gradients of a region to LANES channels of a map, from channel `c` on.
static void add_grads(const problem *p, int64_t region, int64_t c, const axis *rows, const axis *columns) {
  int64_t level = p->level[region], row_size = p->widths[level] * p->channels;
  for (int64_t y = 0; y < p->size; y++)
    for (int64_t x = 0; x < p->size; x++) {
      float *map = p->grad_maps[level] + first_cell(p, region, rows, y, columns, x) + c;
      const float *bin = p->grad + ((region * p->size + y) * p->size + x) * p->channels + c;
      vector low = load(bin), high = load(bin + VECTOR);
      for (int64_t i = 0; i < rows->count[y]; i++)
        for (int64_t j = 0; j < columns->count[x]; j++) {
          float *cell = map + i * row_size + j * p->channels;
          float weight = rows->weights[y * rows->cells + i] * columns->weights[x * columns->cells + j];
          store(cell, load(cell) + weight * low);
          store(cell + VECTOR, load(cell + VECTOR) + weight * high);
        }
    }
}

// Compute the gradients of the maps; return whether memory was missing. A thread owns LANES channels of a map, so
// that the order of the sums is always the same.
int differentiate(const problem *p) {
  int64_t cells = longest_side(p), blocks = p->channels / LANES, items = p->images * MAX_LEVELS * blocks;
  int failed = 0;
#pragma omp parallel reduction(| : failed)
  {
    axis rows, columns;
    failed = !allocate(&rows, p->size, cells) | !allocate(&columns, p->size, cells);
#pragma omp for schedule(dynamic)
    for (int64_t item = 0; item < items; item++)
      for (int64_t region = 0; !failed && region < p->regions; region++) {
        int64_t map = item / blocks;
        if (p->image[region] != map / MAX_LEVELS || p->level[region] != map % MAX_LEVELS) continue;
        weigh_region(p, region, &rows, &columns);
        add_grads(p, region, item % blocks * LANES, &rows, &columns);
      }
    release(&rows), release(&columns);
  }
  return failed;
}
