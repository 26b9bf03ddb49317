// SIMD vectors of floats, written with the extensions that GCC and Clang share, and a matrix product.
#include <stdint.h>
#include <string.h>

#ifdef __AVX512F__
#define VECTOR 16  // floats in a register; AVX-512 has 32 registers
#define ROWS 8     // rows of a block of a matrix product; a block's accumulators fit the registers
#else
#define VECTOR 8  // AVX2 has 16 registers
#define ROWS 4
#endif
#define LANES (2 * VECTOR)    // queries of a tile, which are the columns of a block of scores
#define COLUMNS (3 * VECTOR)  // columns of a block if they are channels
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 24")
#define LOG2_E 1.44269504f

typedef float vector __attribute__((vector_size(4 * VECTOR)));
typedef int32_t integers __attribute__((vector_size(4 * VECTOR)));
typedef struct { vector half[2]; } lanes;  // one value per query of a tile

static int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t round_up(int64_t a, int64_t b) { return divide_up(a, b) * b; }

// Loads and stores of floats that need not be aligned.
INLINE vector load(const float *from) { vector v; memcpy(&v, from, sizeof v); return v; }
INLINE void store(float *to, vector v) { memcpy(to, &v, sizeof v); }

// acc[ROWS][vectors] += a @ b. The element (row, d) of a is at a[row * a_row + d * a_depth], and row d of b
// begins at b[d * b_depth].
INLINE void multiply(vector *acc, const int vectors, int64_t depth, const float *a, int64_t a_row,
                     int64_t a_depth, const float *b, int64_t b_depth) {
  for (int64_t d = 0; d < depth; d++, a += a_depth, b += b_depth)
    UNROLL for (int row = 0; row < ROWS; row++)
      UNROLL for (int i = 0; i < vectors; i++)
        acc[row * vectors + i] += a[row * a_row] * ((const vector *)b)[i];
}

// The elementwise maximum; b if either is NaN.
INLINE vector maximum(vector a, vector b) {
  integers is_a = a > b;
  return (vector)(((integers)a & is_a) | ((integers)b & ~is_a));
}

// 2 to the power of x, for x <= 0 or NaN. Flushes results below 2^-80 to 0, because arithmetic with subnormal
// numbers is slow. The polynomial is fitted to a relative error of 2e-8.
INLINE vector exp2_vector(vector x) {
  integers is_small = x < -80;
  // Adding 1.5 * 2^23 rounds x to an integer, in the low bits of the mantissa; 127 is the exponent's bias.
  const float shift = 12582912 + 127;
  vector shifted = x + shift;
  x -= shifted - shift;
  vector p = x * 1.535336196e-4f + 1.339887385e-3f;
  p = p * x + 9.618436918e-3f;
  p = p * x + 5.550332367e-2f;
  p = p * x + 2.402264774e-1f;
  p = p * x + 6.931471825e-1f;
  p = p * x + 1;
  p *= (vector)((integers)shifted << 23);
  return (vector)((integers)p & ~is_small);
}
