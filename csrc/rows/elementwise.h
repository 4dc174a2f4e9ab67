/* The loops of elementwise operations for the row executor: values, and differences of blocks of pairs. */
#ifndef GF_ROWS_ELEMENTWISE_H
#define GF_ROWS_ELEMENTWISE_H

#include "steps/affine.h"
#include "steps/elementwise.h"

/* The differences of one pair: entry 16 q + i is scale[s] * d[s][q * panel + i]. */
typedef struct {
    const double *plus, *minus;
    ptrdiff_t panel;
    double plus_scale, minus_scale;
    double square; /* no square of an entry exceeds it; NaN if an entry is NaN */
} pair;

static ALWAYS_INLINE pair pair_at(const gf_pairs *pairs, ptrdiff_t p, ptrdiff_t panels, const gf_difference *d) {
    pair result;
    if (d->scale) {
        result.plus = result.minus = d->rows + pairs->column[p] * GF_PANEL;
        result.panel = d->panel;
        result.plus_scale = d->scale[p];
        result.minus_scale = d->scale[pairs->capacity + p];
        double plus = result.plus_scale * result.plus_scale, minus = result.minus_scale * result.minus_scale;
        result.square = (plus + minus) * d->squares[pairs->column[p]];
    } else {
        result.plus = d->rows + 2 * p * d->row;
        result.minus = result.plus + d->row;
        result.panel = GF_PANEL;
        result.plus_scale = result.minus_scale = 1.0;
        double plus = sum_of_squares(panels, result.plus, GF_PANEL);
        result.square = plus + sum_of_squares(panels, result.minus, GF_PANEL);
    }
    return result;
}

/* The loops: y[stride + i] and y[2 stride + i] hold a and b. Of columns, too, each pair is as small as it is itself: what
 * it gives does not depend on the pairs beside it. */
#define PAIR_LOOP(NAME, CACHED, KNOWN)                                                                                \
    for (ptrdiff_t q = 0; q < panels; q++) {                                                                          \
        const double *zq = base + z + q * GF_PANEL, *yq = base + y + q * GF_PANEL;                                    \
        const double *d_plus = d.plus + q * d.panel, *d_minus = d.minus + q * d.panel;                                \
        double *plus = to_plus + q * GF_PANEL, *minus = plus + row;                                                   \
        IGNORE_ALIASING for (int i = 0; i < GF_PANEL; i++) {                                                          \
            double a = CACHED > 0 ? yq[stride + i] : 0.0, b = CACHED > 1 ? yq[2 * stride + i] : 0.0;                  \
            double up = NAME##_difference(KNOWN, zq[i], yq[i], a, b, d.plus_scale * d_plus[i]);                       \
            minus[i] = NAME##_difference(KNOWN, zq[i], yq[i], a, b, d.minus_scale * d_minus[i]);                      \
            plus[i] = up;                                                                                             \
        }                                                                                                             \
    }
#define COLUMN_LOOP(NAME, CACHED, KNOWN)                                                                              \
    if (among[KNOWN]) {                                                                                               \
        IGNORE_ALIASING for (int i = 0; i < GF_PANEL; i++) {                                                          \
            up[i] = NAME##_difference(KNOWN, at_z[i], at_y[i], a[i], b[i], d_plus[i]);                                \
            down[i] = NAME##_difference(KNOWN, at_z[i], at_y[i], a[i], b[i], d_minus[i]);                             \
        }                                                                                                             \
        for (int i = 0; i < some; i++)                                                                                \
            if (known[i] == KNOWN) {                                                                                  \
                out[p + i] = up[i];                                                                                   \
                out[pairs->capacity + p + i] = down[i];                                                               \
            }                                                                                                         \
    }
#define DEFINE_LOOPS(NAME, CACHED, KINKS, FIRST, SECOND)                                                              \
    static void NAME##_values(ptrdiff_t n, const double *z, double *y, ptrdiff_t stride) {                            \
        IGNORE_ALIASING for (ptrdiff_t i = 0; i < n; i++) {                                                           \
            double a = 0.0, b = 0.0;                                                                                  \
            y[i] = NAME##_value(z[i], &a, &b);                                                                        \
            if (CACHED > 0) y[stride + i] = a;                                                                        \
            if (CACHED > 1) y[2 * stride + i] = b;                                                                    \
        }                                                                                                             \
    }                                                                                                                 \
    static void NAME##_differences(const gf_pairs *pairs, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t panels,           \
                                   ptrdiff_t z, ptrdiff_t y, ptrdiff_t stride, const gf_difference *differences,      \
                                   double *out, ptrdiff_t row) {                                                      \
        for (ptrdiff_t p = begin; p < end; p++) {                                                                     \
            const pair d = pair_at(pairs, p, panels, differences);                                                    \
            const double *base = pairs->tape + pairs->sample[p] * pairs->tape_stride;                                 \
            double *to_plus = out + 2 * (p - begin) * row;                                                            \
            switch (range_of(d.square)) {                                                                             \
                case TINY: PAIR_LOOP(NAME, CACHED, TINY) break;                                                       \
                case SMALL: PAIR_LOOP(NAME, CACHED, SMALL) break;                                                     \
                default: PAIR_LOOP(NAME, CACHED, ANY)                                                                 \
            }                                                                                                         \
        }                                                                                                             \
    }                                                                                                                 \
    static void NAME##_column_differences(const gf_pairs *pairs, ptrdiff_t z, ptrdiff_t y, ptrdiff_t stride,          \
                                          const double *d, double *out) {                                             \
        for (ptrdiff_t p = 0; p < pairs->count; p += GF_PANEL) {                                                      \
            double at_z[GF_PANEL] = {0}, at_y[GF_PANEL] = {0}, a[GF_PANEL] = {0}, b[GF_PANEL] = {0};                  \
            double d_plus[GF_PANEL] = {0}, d_minus[GF_PANEL] = {0}, up[GF_PANEL], down[GF_PANEL];                     \
            range known[GF_PANEL];                                                                                    \
            int among[3] = {0};                                                                                       \
            int some = (int)(pairs->count - p < GF_PANEL ? pairs->count - p : GF_PANEL);                              \
            for (int i = 0; i < some; i++) {                                                                          \
                const double *base = pairs->tape + pairs->sample[p + i] * pairs->tape_stride + pairs->column[p + i];  \
                at_z[i] = base[z];                                                                                    \
                at_y[i] = base[y];                                                                                    \
                if (CACHED > 0) a[i] = base[y + stride];                                                              \
                if (CACHED > 1) b[i] = base[y + 2 * stride];                                                          \
                d_plus[i] = d[p + i];                                                                                 \
                d_minus[i] = d[pairs->capacity + p + i];                                                              \
                known[i] = range_of(d_plus[i] * d_plus[i] + d_minus[i] * d_minus[i]);                                 \
                among[known[i]] = 1;                                                                                  \
            }                                                                                                         \
            COLUMN_LOOP(NAME, CACHED, TINY)                                                                           \
            COLUMN_LOOP(NAME, CACHED, SMALL)                                                                          \
            COLUMN_LOOP(NAME, CACHED, ANY)                                                                            \
        }                                                                                                             \
    }
GF_ELEMENTWISE_OPERATIONS(DEFINE_LOOPS)

#endif
