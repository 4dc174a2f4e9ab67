/* Vectors of the width that the instruction set has, where the compiler has vector types; else single numbers. */
#ifndef GF_LANES_H
#define GF_LANES_H

#include "kernels.h"

#if !defined(__GNUC__)
#define LANES 1
#elif defined(__AVX512F__)
#define LANES 8
#elif defined(__AVX__)
#define LANES 4
#else
#define LANES 2
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

/* The lanes of a and b, numbered one after the other, in the order given. */
#if defined(__clang__)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (lane_numbers){__VA_ARGS__})
#endif
#define VECTORS (GF_PANEL / LANES)

static ALWAYS_INLINE lanes load(const double *x) { return *(const lanes *)x; }
static ALWAYS_INLINE void store(double *x, lanes value) { *(lanes *)x = value; }

/* Sum of all lanes, halves first: a fixed order. */
static ALWAYS_INLINE double sum_of_lanes(lanes x) {
#if LANES == 8
    x += SHUFFLE(x, x, 4, 5, 6, 7, 0, 1, 2, 3);
    x += SHUFFLE(x, x, 2, 3, 0, 1, 6, 7, 4, 5);
    x += SHUFFLE(x, x, 1, 0, 3, 2, 5, 4, 7, 6);
    return x[0];
#elif LANES == 4
    x += SHUFFLE(x, x, 2, 3, 0, 1);
    x += SHUFFLE(x, x, 1, 0, 3, 2);
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
#define EVEN(a, b) SHUFFLE(a, b, 0, 8, 2, 10, 4, 12, 6, 14)
#define ODD(a, b) SHUFFLE(a, b, 1, 9, 3, 11, 5, 13, 7, 15)
#define FRONT(a, b) SHUFFLE(a, b, 0, 1, 8, 9, 4, 5, 12, 13)
#define BACK(a, b) SHUFFLE(a, b, 2, 3, 10, 11, 6, 7, 14, 15)
/* (sum of the lanes of a, of b, ..., of e, 0, 0, 0): cheaper than one by one. */
static ALWAYS_INLINE lanes five_sums(lanes a, lanes b, lanes c, lanes d, lanes e) {
    const lanes zero = {0};
    lanes ab = EVEN(a, b) + ODD(a, b), cd = EVEN(c, d) + ODD(c, d), e0 = EVEN(e, zero) + ODD(e, zero);
    lanes abcd = FRONT(ab, cd) + BACK(ab, cd), e000 = FRONT(e0, zero) + BACK(e0, zero);
    return SHUFFLE(abcd, e000, 0, 1, 2, 3, 8, 9, 10, 11) + SHUFFLE(abcd, e000, 4, 5, 6, 7, 12, 13, 14, 15);
}
#endif

#endif
