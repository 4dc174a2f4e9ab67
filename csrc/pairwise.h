/* The differences of a product and of a sum of two steps; df or dg may be NULL where that step does not change. */
#ifndef GF_PAIRWISE_H
#define GF_PAIRWISE_H

#include "lanes.h"

/* (f + df)(g + dg) - f g = df g + f dg + df dg = df g + (f + df) dg */
static void product_difference(ptrdiff_t n, const double *f, const double *g, const double *df, const double *dg,
                               double *out) {
    if (df && dg) IGNORE_ALIASING for (ptrdiff_t i = 0; i < n; i++) out[i] = df[i] * g[i] + (f[i] + df[i]) * dg[i];
    else if (df) IGNORE_ALIASING for (ptrdiff_t i = 0; i < n; i++) out[i] = df[i] * g[i];
    else IGNORE_ALIASING for (ptrdiff_t i = 0; i < n; i++) out[i] = f[i] * dg[i];
}

/* df + constant dg */
static void sum_difference(ptrdiff_t n, double constant, const double *df, const double *dg, double *out) {
    if (df && dg) IGNORE_ALIASING for (ptrdiff_t i = 0; i < n; i++) out[i] = df[i] + constant * dg[i];
    else if (df) IGNORE_ALIASING for (ptrdiff_t i = 0; i < n; i++) out[i] = df[i];
    else IGNORE_ALIASING for (ptrdiff_t i = 0; i < n; i++) out[i] = constant * dg[i];
}

#endif
