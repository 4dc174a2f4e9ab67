/* An elementwise step and the product that reads it, by a matrix of few columns: two pairs at a time, and the inner
 * dimension in pieces, so that the rows between the two, and the matrix, stay in the L1 cache.
 */
#ifndef GF_FUSED_H
#define GF_FUSED_H

#include "steps/affine.h"

#define PAIRS_AT_ONCE 2
#define NARROW_INNER 256 /* whole panels */

/* c (rows x 16) = f-difference(d) b^T; see the two functions for their arguments; `rows` holds 4 rows of `row` doubles */
static void elementwise_narrow(const gf_elementwise *operation, const gf_pairs *pairs, ptrdiff_t inner, ptrdiff_t z,
                               ptrdiff_t y, ptrdiff_t stride, const gf_difference *d, double *rows, ptrdiff_t row,
                               ptrdiff_t columns, const double *b, ptrdiff_t b_row, double *c, ptrdiff_t c_row) {
    for (ptrdiff_t k = 0; k < inner; k += NARROW_INNER) {
        ptrdiff_t some = inner - k < NARROW_INNER ? inner - k : NARROW_INNER;
        gf_difference part = *d;
        part.rows += d->scale ? k / GF_PANEL * d->panel : k;
        for (ptrdiff_t p = 0; p < pairs->count; p += PAIRS_AT_ONCE) {
            ptrdiff_t end = p + PAIRS_AT_ONCE < pairs->count ? p + PAIRS_AT_ONCE : pairs->count;
            operation->difference(pairs, p, end, some / GF_PANEL, z + k, y + k, stride, &part, rows, row);
            matmul_narrow(2 * (end - p), some, columns, rows, row, b + k, b_row, c + 2 * p * c_row, c_row, k > 0);
        }
    }
}

#endif
