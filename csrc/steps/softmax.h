/* softmax and its difference. With u = expm1(d) and S = sum_k p_k u_k,
 *     softmax(z + d)_k - p_k = p_k (u_k - S) / (1 + S),      1 + S = sum_k p_k e^(d_k).
 * softmax does not change when every d moves by one constant; that freedom is spent on two things: taken relative to
 * the most probable class m, u_m = 0 and u_m - S loses nothing even where p_m is nearly 1; taken relative to the
 * largest d, if that is far above, nothing overflows.
 */
#ifndef GF_SOFTMAX_H
#define GF_SOFTMAX_H

#include "elementary.h"
#include "kernels.h"

#define FAR_ABOVE 600.0

static inline double largest(ptrdiff_t n, const double *x) {
    double best = x[0];
    for (ptrdiff_t k = 1; k < n; k++) best = x[k] > best ? x[k] : best;
    return best;
}

/* p_k = e^(z_k - max z) / sum */
static void softmax_value(ptrdiff_t n, const double *z, double *p) {
    double top = largest(n, z), sum = 0.0;
    for (ptrdiff_t k = 0; k < n; k++) p[k] = exp_and_expm1(z[k] - top).exp;
    for (ptrdiff_t k = 0; k < n; k++) sum += p[k];
    for (ptrdiff_t k = 0; k < n; k++) p[k] /= sum;
}

/* sum += TERM(k) for k < n, in eight interleaved partial sums: that vectorises, and has a fixed order. */
#define SUM_IN_LANES(n, sum, TERM)                                      \
    do {                                                                \
        double lane[8] = {0};                                           \
        ptrdiff_t k0 = 0;                                               \
        for (; k0 + 8 <= (n); k0 += 8)                                  \
            for (int l = 0; l < 8; l++) {                               \
                ptrdiff_t k = k0 + l;                                   \
                lane[l] += TERM;                                        \
            }                                                           \
        for (ptrdiff_t k = k0; k < (n); k++) lane[0] += TERM;           \
        for (int l = 0; l < 4; l++) lane[l] += lane[l + 4];             \
        sum += (lane[0] + lane[2]) + (lane[1] + lane[3]);               \
    } while (0)

/* d and out may be the same array; what lies beyond n in the last panel becomes zero */
static void softmax_difference(ptrdiff_t n, const double *p, const double *d, double *out) {
    ptrdiff_t likely = 0;
    for (ptrdiff_t k = 1; k < n; k++) likely = p[k] > p[likely] ? k : likely;
    double top = largest(n, d), shift = d[likely], mean = 0.0, total = 0.0;
    if (top - shift > FAR_ABOVE) { /* e^d would overflow, and e^(d - top) of the others is next to nothing */
        SUM_IN_LANES(n, total, p[k] * exp_and_expm1(d[k] - top).exp);
        IGNORE_ALIASING for (ptrdiff_t k = 0; k < n; k++)
            out[k] = p[k] * (exp_and_expm1(d[k] - top).exp - total) / total;
        for (ptrdiff_t k = n; k % GF_PANEL != 0; k++) out[k] = 0.0;
        return;
    }
    SUM_IN_LANES(n, mean, p[k] * exp_and_expm1(d[k] - shift).expm1);
    total = 1.0 + mean; /* no less than p of the likeliest, 1/n: it does not cancel */
    IGNORE_ALIASING for (ptrdiff_t k = 0; k < n; k++)
        out[k] = p[k] * (exp_and_expm1(d[k] - shift).expm1 - mean) / total;
    for (ptrdiff_t k = n; k % GF_PANEL != 0; k++) out[k] = 0.0;
}

/* (softmax(z + d) - softmax(z - d)) / 2 for small d; d and out may be the same array */
static void softmax_odd(ptrdiff_t n, const double *p, const double *d, double *out) {
    ptrdiff_t likely = 0;
    for (ptrdiff_t k = 1; k < n; k++) likely = p[k] > p[likely] ? k : likely;
    double shift = d[likely], plus = 0.0, minus = 0.0;
    SUM_IN_LANES(n, plus, p[k] * expm1_in(SMALL, d[k] - shift));
    SUM_IN_LANES(n, minus, p[k] * expm1_in(SMALL, shift - d[k]));
    IGNORE_ALIASING for (ptrdiff_t k = 0; k < n; k++) {
        double up = (expm1_in(SMALL, d[k] - shift) - plus) / (1.0 + plus);
        out[k] = 0.5 * p[k] * (up - (expm1_in(SMALL, shift - d[k]) - minus) / (1.0 + minus));
    }
    for (ptrdiff_t k = n; k % GF_PANEL != 0; k++) out[k] = 0.0;
}

#endif
