/* Functions of two steps f and g, entry by entry: the value, and the exact difference when f changes by df and g by dg.
 *
 * An operation is one line in GF_PAIRWISE_OPERATIONS: its name, its value, and its difference where only f changes, where
 * only g does, and where both do.
 */
#ifndef GF_PAIRWISE_H
#define GF_PAIRWISE_H

#include "kernels.h"
#include "lanes.h"

/* (f + df)(g + dg) - f g = df g + f dg + df dg = df g + (f + df) dg */
#define GF_PAIRWISE_OPERATIONS(OPERATION)                           \
    OPERATION(add, f + g, df, dg, df + dg)                          \
    OPERATION(subtract, f - g, df, -dg, df - dg)                    \
    OPERATION(multiply, f *g, df *g, f *dg, df *g + (f + df) * dg)

#define PAIRWISE_LOOP(TARGET, EXPRESSION)                                                                \
    IGNORE_ALIASING for (ptrdiff_t i = 0; i < n; i++) {                                                  \
        double f = fs[i], g = gs[i], df = dfs ? dfs[i] : 0.0, dg = dgs ? dgs[i] : 0.0;                   \
        (void)f, (void)g, (void)df, (void)dg;                                                            \
        TARGET[i] = EXPRESSION;                                                                          \
    }
#define PAIRWISE_SLOPES(NAME, EXPRESSION)                                                                \
    IGNORE_ALIASING for (ptrdiff_t i = 0; i < n; i++) {                                                  \
        double plus = NAME##_by_##EXPRESSION(fs[i], gs[i], h);                                           \
        double slope = (plus - NAME##_by_##EXPRESSION(fs[i], gs[i], -h)) / (2.0 * h);                    \
        out[i] = (accumulate ? out[i] : 0.0) + up[i] * slope;                                            \
    }
#define DEFINE_PAIRWISE(NAME, VALUE, FIRST, SECOND, BOTH)                                                \
    static void NAME##_pairwise(ptrdiff_t n, const double *fs, const double *gs, double *out) {          \
        const double *dfs = NULL, *dgs = NULL;                                                           \
        PAIRWISE_LOOP(out, VALUE)                                                                        \
    }                                                                                                    \
    static void NAME##_pairwise_difference(ptrdiff_t n, const double *fs, const double *gs,              \
                                           const double *dfs, const double *dgs, double *out) {          \
        if (dfs && dgs) PAIRWISE_LOOP(out, BOTH)                                                         \
        else if (dfs) PAIRWISE_LOOP(out, FIRST)                                                          \
        else PAIRWISE_LOOP(out, SECOND)                                                                  \
    }                                                                                                    \
    static void NAME##_pairwise_odd(ptrdiff_t n, const double *fs, const double *gs, const double *dfs,  \
                                    const double *dgs, double *out) {                                    \
        IGNORE_ALIASING for (ptrdiff_t i = 0; i < n; i++) {                                              \
            double f = fs[i], g = gs[i], df = dfs ? dfs[i] : 0.0, dg = dgs ? dgs[i] : 0.0;               \
            (void)f, (void)g, (void)df, (void)dg;                                                        \
            double plus = BOTH;                                                                          \
            df = -df, dg = -dg;                                                                          \
            out[i] = 0.5 * (plus - (BOTH));                                                              \
        }                                                                                                \
    }                                                                                                    \
    static ALWAYS_INLINE double NAME##_by_first(double f, double g, double df) {                         \
        (void)f, (void)g;                                                                                \
        return FIRST;                                                                                    \
    }                                                                                                    \
    static ALWAYS_INLINE double NAME##_by_second(double f, double g, double dg) {                        \
        (void)f, (void)g;                                                                                \
        return SECOND;                                                                                   \
    }                                                                                                    \
    static void NAME##_pairwise_back(ptrdiff_t n, const double *fs, const double *gs, ptrdiff_t k,       \
                                     double h, const double *up, double *out, int accumulate) {          \
        if (k == 0) PAIRWISE_SLOPES(NAME, first)                                                         \
        else PAIRWISE_SLOPES(NAME, second)                                                               \
    }
GF_PAIRWISE_OPERATIONS(DEFINE_PAIRWISE)

#define PAIRWISE_ENTRY(NAME, VALUE, FIRST, SECOND, BOTH)                                                 \
    {#NAME, NAME##_pairwise, NAME##_pairwise_difference, NAME##_pairwise_odd, NAME##_pairwise_back},
static const gf_pairwise pairwise_table[] = {GF_PAIRWISE_OPERATIONS(PAIRWISE_ENTRY)};

#endif
