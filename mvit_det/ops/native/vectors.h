// Vectors of floats, by extensions that GCC and Clang share, and the product that all is made of.
#include <stdint.h>

#ifdef __AVX512F__
#define VECTOR 16  // floats of a register; there are 32
#define ROWS 8     // of a product that is summed up in registers
#else
#define VECTOR 8  // there are 16
#define ROWS 4
#endif
#define LANES (2 * VECTOR)
#define COLUMNS (3 * VECTOR)  // of a product whose columns are channels
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 24")
#define LOG2_E 1.44269504f

typedef float vector __attribute__((vector_size(4 * VECTOR)));
typedef int32_t integers __attribute__((vector_size(4 * VECTOR)));
typedef struct { vector half[2]; } lanes;  // one value for each of LANES queries

// sums[ROWS][vectors] += sum over d of a[row * a_row + d * a_depth] * b[d * b_depth + column]
INLINE void multiply(vector *sums, const int vectors, int64_t depth, const float *a, int64_t a_row,
                     int64_t a_depth, const float *b, int64_t b_depth) {
  for (int64_t d = 0; d < depth; d++, a += a_depth, b += b_depth)
    UNROLL for (int row = 0; row < ROWS; row++)
      UNROLL for (int i = 0; i < vectors; i++)
        sums[row * vectors + i] += a[row * a_row] * ((const vector *)b)[i];
}

INLINE vector larger(vector a, vector b) {  // b where one of them is NaN
  integers a_is = a > b;
  return (vector)(((integers)a & a_is) | ((integers)b & ~a_is));
}

// 2 to the power of x, which is at most 0, or NaN; 0 below 2^-80, before numbers get so small that they are slow.
// The polynomial was fitted to a relative error of 2e-8.
INLINE vector power_of_2(vector x) {
  integers is_small = x < -80;
  const float shift = 12582912 + 127;  // 1.5 * 2^23 rounds what is added; 127 is the bias of exponents
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
