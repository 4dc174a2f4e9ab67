/* exp, expm1, log, log1p and the logistic pair, inline and free of branches, so that a loop that calls them
 * vectorises for whatever instruction set it is compiled for. Each is within 2 ulp (tests/kernels/test_elementary.py).
 *
 * exp:   x = k ln2 + r with |r| <= ln2/2;  expm1(r) by its Taylor series;  e^x = 2^k (1 + expm1(r)).
 * log1p: 1 + x = 2^k (1 + f) with 1 + f in [sqrt(1/2), sqrt(2));  s = f/(2+f);  log(1+f) = 2 artanh(s).
 *
 * Where the argument is known to be small, a few terms of a series do: see range.
 */
#ifndef GF_ELEMENTARY_H
#define GF_ELEMENTARY_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "lanes.h"

static const double LN2_HI = 0x1.62e42fefa0000p-1; /* the leading bits of ln 2: k * LN2_HI is exact for |k| < 2^11 */
static const double LN2_LO = 0x1.cf79abc9e3b3ap-40;
static const double LOG2_E = 0x1.71547652b82fep+0;
static const double ROUND_SHIFT = 0x1.8p52; /* x + ROUND_SHIFT leaves round(x) in the low bits of the significand */

static ALWAYS_INLINE int64_t bits_of(double x) { int64_t b; memcpy(&b, &x, sizeof b); return b; }
static ALWAYS_INLINE double from_bits(int64_t b) { double x; memcpy(&x, &b, sizeof x); return x; }

/* 2^k for integral k in [-1022, 1023]: the low bits of k + ROUND_SHIFT, moved to the exponent. */
static ALWAYS_INLINE double power_of_two(double k) {
    return from_bits((int64_t)((uint64_t)bits_of(k + (ROUND_SHIFT + 1023.0)) << 52));
}

/* d < 0 ? negative : other, by masks: compilers are tempted to compute everything after a comparison twice. */
static ALWAYS_INLINE double select_by_sign(double d, double negative, double other) {
    int64_t mask = -(int64_t)((uint64_t)bits_of(d) >> 63);
    return from_bits((bits_of(negative) & mask) | (bits_of(other) & ~mask));
}

/* What is known of a difference, a constant where it is used: |d| <= SMALL_LIMIT, |d| <= TINY_LIMIT, or nothing. In a
 * series of d, or of 2 d, with three terms the fourth is then below 2^-54 of the first, and so is the third in one with
 * two. */
typedef enum { ANY, SMALL, TINY } range;
#define SMALL_LIMIT 0x1p-19
#define TINY_LIMIT 0x1p-28

typedef struct { double exp, expm1; } exp_pair;

/* e^x and e^x - 1, both to full relative accuracy, from one polynomial; NaN, overflow and underflow as in libm. */
static ALWAYS_INLINE exp_pair exp_and_expm1(double x) {
    double c = x < -750.0 ? -750.0 : x;
    c = c > 750.0 ? 750.0 : c;
    double k = (c * LOG2_E + ROUND_SHIFT) - ROUND_SHIFT;
    double r = (c - k * LN2_HI) - k * LN2_LO;
    double p = 1.0 / 6227020800.0;
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    double m = (p * r) * r + r; /* expm1(r) */
    /* 2^k in two factors, since k may lie outside the exponents of normal numbers; 2^k m + 2^k - 1 likewise */
    double half = (0.5 * k + ROUND_SHIFT) - ROUND_SHIFT;
    double first = power_of_two(half), second = power_of_two(k - half), inverse = power_of_two(half - k);
    exp_pair result = {((1.0 + m) * first) * second, (m * first + (first - inverse)) * second};
    return result;
}

/* log(y), given also x = y - 1 where that is known better than y (|x| <= 1/4), as it is after 1 + x was rounded. */
static ALWAYS_INLINE double log_of(double y, double x) {
    int small = fabs(x) <= 0.25;
    double tiny = y < 0x1p-1022 ? 0x1p54 : 1.0; /* lifts subnormals */
    double lifted = y * tiny;
    /* 1 + f in [sqrt(1/2), sqrt(2)): take the exponent of y / sqrt(1/2) */
    int64_t raw = bits_of(lifted) - INT64_C(0x3fe6a09e667f3bcd);
    int64_t exponent = (int64_t)((uint64_t)(raw + (INT64_C(1024) << 52)) >> 52);
    double k = from_bits(exponent | INT64_C(0x4330000000000000)) - (0x1p52 + 1024.0);
    double f = from_bits(bits_of(lifted) - (int64_t)((uint64_t)(exponent - 1024) << 52)) - 1.0;
    f = small ? x : f;
    k = small ? 0.0 : k - (tiny > 1.0 ? 54.0 : 0.0);
    double s = f / (2.0 + f), w = s * s;
    double q = 1.0 / 25.0;
    q = q * w + 1.0 / 23.0;
    q = q * w + 1.0 / 21.0;
    q = q * w + 1.0 / 19.0;
    q = q * w + 1.0 / 17.0;
    q = q * w + 1.0 / 15.0;
    q = q * w + 1.0 / 13.0;
    q = q * w + 1.0 / 11.0;
    q = q * w + 1.0 / 9.0;
    q = q * w + 1.0 / 7.0;
    q = q * w + 1.0 / 5.0;
    q = q * w + 1.0 / 3.0;
    /* 2 artanh(s) = 2s + 2s w q, and 2s = f - s f: only the small second term is rounded twice */
    double log1f = f - (s * f - 2.0 * s * w * q);
    double result = k * LN2_HI + (log1f + k * LN2_LO);
    result = y > 0x1.fffffffffffffp1023 ? y : result;
    result = y == 0.0 ? -INFINITY : result;
    return y >= 0.0 ? result : NAN; /* also where y is NaN */
}

static ALWAYS_INLINE double log_positive(double y) { return log_of(y, y - 1.0); }

static ALWAYS_INLINE double log1p_inline(double x) {
    double y = 1.0 + x;
    double lost = x - (y - 1.0); /* what rounding 1 + x dropped */
    double correction = lost / y;
    double result = log_of(y, x);
    return fabs(x) <= 0.25 || !(fabs(x) < 0x1p60) || y == 0.0 ? result : result + correction;
}

/* expm1(x), 1/(1 + x) and log1p(x) */
static ALWAYS_INLINE double expm1_in(range known, double x) {
    if (known == TINY) return x + x * (0.5 * x);
    if (known == SMALL) return x + x * x * (0.5 + x * (1.0 / 6.0));
    return exp_and_expm1(x).expm1;
}
static ALWAYS_INLINE double reciprocal_of_one_plus(range known, double x) {
    if (known == TINY) return 1.0 - x;
    if (known == SMALL) return 1.0 - x * (1.0 - x);
    return 1.0 / (1.0 + x);
}
static ALWAYS_INLINE double log1p_in(range known, double x) {
    if (known == TINY) return x - x * (0.5 * x);
    if (known == SMALL) return x - x * x * (0.5 - x * (1.0 / 3.0));
    return log1p_inline(x);
}

/* The functions as a table, for tests. */
#define GF_FUNCTIONS(FUNCTION)                    \
    FUNCTION(exp, exp_and_expm1(x[i]).exp)        \
    FUNCTION(expm1, exp_and_expm1(x[i]).expm1)    \
    FUNCTION(log1p, log1p_inline(x[i]))           \
    FUNCTION(log, log_positive(x[i]))
#define DEFINE_FUNCTION(NAME, VALUE)                                                      \
    static void apply_##NAME(ptrdiff_t n, const double *x, double *y) {                   \
        IGNORE_ALIASING for (ptrdiff_t i = 0; i < n; i++) y[i] = VALUE;                   \
    }
GF_FUNCTIONS(DEFINE_FUNCTION)
#define FUNCTION_ENTRY(NAME, VALUE) {#NAME, apply_##NAME},
static const gf_function function_table[] = {GF_FUNCTIONS(FUNCTION_ENTRY)};

typedef struct { double plus, minus; } logistic_pair;

/* sigma(z) and sigma(-z), each to full relative accuracy: no 1 - s. */
static ALWAYS_INLINE logistic_pair logistic(double z) {
    double e = exp_and_expm1(-fabs(z)).exp;
    double large = 1.0 / (1.0 + e), small = e * large;
    logistic_pair result = {select_by_sign(z, small, large), select_by_sign(z, large, small)};
    return result;
}

/* sigma(z + d) - sigma(z) from moved = z + d, s = sigma(z), q = sigma(-z) and sq = s q, with u = expm1(d):
 *     s q u / (1 + s u)
 * which loses digits where s u comes near -1. So, unless d is small, with u = expm1(-|d|), e = exp(-|d|):
 *     d < 0:   s q u / (q + s e)        d >= 0:  -s q u / (s + q e)
 * in which nothing cancels for any z and d; beyond |d| = FAR, where s, q or e may underflow, the two values differ so
 * much that subtracting them loses nothing. */
#define FAR 600.0
static ALWAYS_INLINE double logistic_difference(range known, double moved, double s, double q, double sq, double d) {
    if (known == TINY) return sq * d * (1.0 + d * (0.5 - s)); /* (1 + d/2)(1 - s d) but for its d^2 < 2^-57 */
    if (known == SMALL) {
        double u = expm1_in(known, d);
        return sq * u * reciprocal_of_one_plus(known, s * u);
    }
    int far_away = fabs(d) > FAR;
    exp_pair step = exp_and_expm1(far_away ? -fabs(moved) : -fabs(d));
    double near = select_by_sign(d, q, s), far = select_by_sign(d, s, q);
    double top = far_away ? step.exp : sq * step.expm1;
    double ratio = top / (far_away ? 1.0 + step.exp : near + far * step.exp);
    return far_away ? (moved > 0.0 ? q - ratio : ratio - s) : copysign(ratio, d);
}

#endif
