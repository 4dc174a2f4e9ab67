/* Kinks crossed: entries that lie on one side of a kink k for +h and on the other for -h,
 *     (d+ > k - z) != (d- > k - z),
 * or that leave it to one side. A kink is where the slope of an operation, or of a cost, jumps.
 */
#ifndef GF_KINKS_H
#define GF_KINKS_H

#include "rows/elementwise.h"
#include "steps/affine.h"
#include "steps/costs.h"

static ALWAYS_INLINE int crosses(double z, double kink, double plus, double minus) {
    return (plus > kink - z) != (minus > kink - z); /* z + plus might round to z */
}

/* The distance of the nearest of n numbers to a kink. */
static double clearance(const gf_elementwise *operation, ptrdiff_t n, const double *z) {
    double nearest = INFINITY;
    for (ptrdiff_t k = 0; k < operation->kinks; k++)
        for (ptrdiff_t i = 0; i < n; i++) {
            double distance = fabs(z[i] - operation->kink[k]);
            nearest = distance < nearest ? distance : nearest;
        }
    return nearest;
}

/* Few rows come near a kink: most need no more than the sum of the squares of their differences. */
static void count_kinks(const gf_elementwise *operation, const gf_pairs *pairs, ptrdiff_t n, ptrdiff_t z,
                        const gf_difference *d, ptrdiff_t *crossed) {
    ptrdiff_t panels = (n + GF_PANEL - 1) / GF_PANEL, sample = -1;
    double clear = 0.0;
    for (ptrdiff_t p = 0; p < pairs->count; p++) {
        const double *base = pairs->tape + pairs->sample[p] * pairs->tape_stride + z;
        if (pairs->sample[p] != sample) {
            sample = pairs->sample[p];
            clear = clearance(operation, n, base);
        }
        const pair row = pair_at(pairs, p, panels, d);
        if (row.square < clear * clear) continue;
        for (ptrdiff_t i = 0; i < n; i++) {
            ptrdiff_t at = i / GF_PANEL * row.panel + i % GF_PANEL;
            for (ptrdiff_t k = 0; k < operation->kinks; k++)
                crossed[p] += crosses(base[i], operation->kink[k], row.plus_scale * row.plus[at],
                                      row.minus_scale * row.minus[at]);
        }
    }
}

static void count_column_kinks(const gf_elementwise *operation, const gf_pairs *pairs, ptrdiff_t z, const double *d,
                               ptrdiff_t *crossed) {
    for (ptrdiff_t p = 0; p < pairs->count; p++) {
        double base = pairs->tape[pairs->sample[p] * pairs->tape_stride + z + pairs->column[p]];
        for (ptrdiff_t k = 0; k < operation->kinks; k++)
            crossed[p] += crosses(base, operation->kink[k], d[p], d[pairs->capacity + p]);
    }
}

static void count_cost_kinks(const gf_pairs *pairs, const gf_cost_place *place, const double *d, ptrdiff_t row,
                             ptrdiff_t *crossed) {
    for (ptrdiff_t p = 0; p < pairs->count; p++) {
        const double *base = pairs->tape + pairs->sample[p] * pairs->tape_stride;
        if (place->mask >= 0 && base[place->mask] == 0.0) continue;
        ptrdiff_t shift = row ? 0 : pairs->column[p];
        const double *x = base + place->x + shift;
        const double *target = place->targets + pairs->sample[p] * place->target_stride + shift;
        const double *plus = row ? d + 2 * p * row : d + p, *minus = plus + (row ? row : pairs->capacity);
        for (ptrdiff_t k = 0; k < (row ? place->n : 1); k++)
            crossed[p] += crosses(x[k] - target[k], 0.0, plus[k], minus[k]);
    }
}

#endif
