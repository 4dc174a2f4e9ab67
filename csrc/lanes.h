/* Vectors of the width that the instruction set has, where the compiler has vector types; else single numbers. */
#ifndef GF_LANES_H
#define GF_LANES_H

#include "kernels.h"

#if defined(__AVX512F__)
#define LANES 8
#elif defined(__AVX__)
#define LANES 4
#elif defined(__GNUC__)
#define LANES 2
#else
#define LANES 1
#endif

#if defined(__GNUC__)
typedef double lanes __attribute__((vector_size(LANES * sizeof(double)), aligned(sizeof(double)), may_alias));
typedef long long lane_numbers __attribute__((vector_size(LANES * sizeof(double))));
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define IGNORE_ALIASING _Pragma("GCC ivdep")
#define PREFETCH(address) __builtin_prefetch(address)
#define UNROLL _Pragma("GCC unroll 32") /* or arrays of vectors would live in memory */
#else
typedef double lanes;
#define ALWAYS_INLINE inline
#define IGNORE_ALIASING
#define PREFETCH(address)
#define UNROLL
#endif
#define VECTORS (GF_PANEL / LANES)

static ALWAYS_INLINE lanes load(const double *x) { return *(const lanes *)x; }
static ALWAYS_INLINE void store(double *x, lanes value) { *(lanes *)x = value; }

/* Sum of all lanes, halves first: a fixed order. */
static ALWAYS_INLINE double sum_of_lanes(lanes x) {
#if LANES == 8
    x += __builtin_shuffle(x, (lane_numbers){4, 5, 6, 7, 0, 1, 2, 3});
    x += __builtin_shuffle(x, (lane_numbers){2, 3, 0, 1, 6, 7, 4, 5});
    x += __builtin_shuffle(x, (lane_numbers){1, 0, 3, 2, 5, 4, 7, 6});
    return x[0];
#elif LANES == 4
    x += __builtin_shuffle(x, (lane_numbers){2, 3, 0, 1});
    x += __builtin_shuffle(x, (lane_numbers){1, 0, 3, 2});
    return x[0];
#elif LANES == 2
    return x[0] + x[1];
#else
    return x;
#endif
}

static ALWAYS_INLINE double sum_of_panel(const double *x) {
    lanes sum = load(x);
    for (int v = 1; v < VECTORS; v++) sum += load(x + v * LANES);
    return sum_of_lanes(sum);
}

#if LANES == 8
/* (sum of the lanes of a, of b, ..., of e, 0, 0, 0): cheaper than one by one. */
static ALWAYS_INLINE lanes five_sums(lanes a, lanes b, lanes c, lanes d, lanes e) {
    const lane_numbers even = {0, 8, 2, 10, 4, 12, 6, 14}, odd = {1, 9, 3, 11, 5, 13, 7, 15};
    const lane_numbers front = {0, 1, 8, 9, 4, 5, 12, 13}, back = {2, 3, 10, 11, 6, 7, 14, 15};
    const lane_numbers low = {0, 1, 2, 3, 8, 9, 10, 11}, high = {4, 5, 6, 7, 12, 13, 14, 15};
    const lanes zero = {0};
    lanes ab = __builtin_shuffle(a, b, even) + __builtin_shuffle(a, b, odd);
    lanes cd = __builtin_shuffle(c, d, even) + __builtin_shuffle(c, d, odd);
    lanes e0 = __builtin_shuffle(e, zero, even) + __builtin_shuffle(e, zero, odd);
    lanes abcd = __builtin_shuffle(ab, cd, front) + __builtin_shuffle(ab, cd, back);
    lanes e000 = __builtin_shuffle(e0, zero, front) + __builtin_shuffle(e0, zero, back);
    return __builtin_shuffle(abcd, e000, low) + __builtin_shuffle(abcd, e000, high);
}
#endif

#endif
