/* Random directions: numbers that depend on nothing but the seed and their place, so that any part can be drawn alone.
 *
 *     u, v = the halves of mix(mix(seed) + (i + 1) GOLDEN), as signed 32-bit integers
 *     r[i] = scale (u + v), or scale (u - v)
 *
 * mix is the finaliser of SplitMix64 (Steele, Lea and Flood, Fast splittable pseudorandom number generators, 2014, with
 * Stafford's thirteenth variant). The sum and the difference of two independent uniform numbers are uncorrelated, and
 * nearly normal: their density at 0 is 0.408 over their standard deviation, that of a normal number 0.399.
 */
#ifndef GF_DIRECTIONS_H
#define GF_DIRECTIONS_H

#include <stdint.h>

#include "lanes.h"

#define GOLDEN UINT64_C(0x9E3779B97F4A7C15)

/* How many sums are added up side by side. */
#define SUMS 16

static ALWAYS_INLINE uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

static ALWAYS_INLINE double drawn(uint64_t stream, ptrdiff_t i, double sign) {
    uint64_t bits = mix(stream + ((uint64_t)i + 1) * GOLDEN);
    return (double)(int32_t)(bits >> 32) + sign * (double)(int32_t)bits;
}

/* out[i - begin] = r[i] for i = begin..end; returns the sum of weights[i - begin] r[i] */
static double draw(ptrdiff_t begin, ptrdiff_t end, uint64_t seed, double sign, double scale, const double *weights,
                   double *out) {
    double sums[SUMS] = {0.0}, total = 0.0;
    ptrdiff_t n = end - begin, i = 0;
    uint64_t stream = mix(seed); /* or the numbers of one seed would be those of another, shifted */
    for (; i + SUMS <= n; i += SUMS)
        IGNORE_ALIASING for (ptrdiff_t k = 0; k < SUMS; k++) {
            double r = scale * drawn(stream, begin + i + k, sign);
            out[i + k] = r;
            sums[k] += weights[i + k] * r;
        }
    for (; i < n; i++) {
        out[i] = scale * drawn(stream, begin + i, sign);
        total += weights[i] * out[i];
    }
    for (ptrdiff_t k = 0; k < SUMS; k++) total += sums[k];
    return total;
}

/* out = x + scale y */
static void add_scaled(ptrdiff_t n, const double *x, double scale, const double *y, double *out) {
    IGNORE_ALIASING for (ptrdiff_t i = 0; i < n; i++) out[i] = x[i] + scale * y[i];
}

#endif
