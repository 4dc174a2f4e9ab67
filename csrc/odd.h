/* The odd half of a pair of differences, o = (d+ - d-) / 2, in one row instead of two.
 *
 * Where h is so small that the even half has no effect, an elementwise step f takes o to
 *     (f(z + o) - f(z - o)) / 2  =  s o,      s = (f(z + h) - f(z - h)) / 2h,
 * to a relative error of the order of h^2. The slopes s depend on the sample alone: they are found once for each value on
 * the tape, by the step's exact difference, with 2^-60 for h where that is smaller, and lie in rows of their own. So it
 * is with the slopes of a cost by each entry of its input.
 */
#ifndef GF_ODD_H
#define GF_ODD_H

#include "steps/affine.h"

static ALWAYS_INLINE const double *slopes_of(const gf_pairs *pairs, ptrdiff_t p, ptrdiff_t at) {
    return pairs->slopes + pairs->sample[p] * pairs->slope_stride + at;
}

/* out = s o for the blocks' rows begin..end; out may be the dense rows of d */
static void odd_rows(const gf_pairs *pairs, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t panels, ptrdiff_t slope,
                     const gf_difference *d, double *out, ptrdiff_t row) {
    for (ptrdiff_t p = begin; p < end; p++) {
        const double *s = slopes_of(pairs, p, slope);
        const double *from = d->scale ? d->rows + pairs->column[p] * GF_PANEL : d->rows + p * d->row;
        ptrdiff_t panel = d->scale ? d->panel : GF_PANEL;
        double scale = d->scale ? d->scale[p] : 1.0, *to = out + (p - begin) * row;
        for (ptrdiff_t q = 0; q < panels; q++)
            IGNORE_ALIASING for (int i = 0; i < GF_PANEL; i++)
                to[q * GF_PANEL + i] = s[q * GF_PANEL + i] * (scale * from[q * panel + i]);
    }
}

/* of a number o in each row's column */
static void odd_columns(const gf_pairs *pairs, ptrdiff_t slope, const double *d, double *out) {
    for (ptrdiff_t p = 0; p < pairs->count; p++) out[p] = slopes_of(pairs, p, slope)[pairs->column[p]] * d[p];
}

/* change[p] += the sum of s o over the n entries of the input of a cost; d: dense rows, or (row = 0) columns */
static void odd_cost(const gf_pairs *pairs, ptrdiff_t n, ptrdiff_t slope, const double *d, ptrdiff_t row,
                     double *change) {
    for (ptrdiff_t p = 0; p < pairs->count; p++) {
        const double *s = slopes_of(pairs, p, slope);
        if (!row) {
            change[p] += s[pairs->column[p]] * d[p];
            continue;
        }
        lanes sum[VECTORS] = {{0}}, total = {0};
        for (ptrdiff_t k = 0; k < n; k += GF_PANEL)
            for (int v = 0; v < VECTORS; v++) sum[v] += load(s + k + v * LANES) * load(d + p * row + k + v * LANES);
        for (int v = 0; v < VECTORS; v++) total += sum[v];
        change[p] += sum_of_lanes(total);
    }
}

/* An elementwise step and the product that reads it, by a matrix of few columns: a few rows at a time, and the inner
 * dimension in pieces, as in fused.h; `rows` holds ODD_AT_ONCE rows of `row` doubles. */
#define ODD_AT_ONCE 4
#define ODD_INNER 256 /* whole panels */
static void odd_narrow(const gf_pairs *pairs, ptrdiff_t inner, ptrdiff_t slope, const gf_difference *d, double *rows,
                       ptrdiff_t row, ptrdiff_t columns, const double *b, ptrdiff_t b_row, double *c, ptrdiff_t c_row) {
    for (ptrdiff_t k = 0; k < inner; k += ODD_INNER) {
        ptrdiff_t some = inner - k < ODD_INNER ? inner - k : ODD_INNER;
        gf_difference part = *d;
        part.rows += d->scale ? k / GF_PANEL * d->panel : k;
        for (ptrdiff_t p = 0; p < pairs->count; p += ODD_AT_ONCE) {
            ptrdiff_t end = p + ODD_AT_ONCE < pairs->count ? p + ODD_AT_ONCE : pairs->count;
            odd_rows(pairs, p, end, some / GF_PANEL, slope + k, &part, rows, row);
            matmul_narrow(end - p, some, columns, rows, row, b + k, b_row, c + p * c_row, c_row, k > 0);
        }
    }
}

#endif
