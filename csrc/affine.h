/* Matrix products over panels (see kernels.h): one register-blocked micro-kernel, plain C around it.
 *
 * The micro-kernel keeps a block of R rows x 16 columns of c in registers and runs over the inner dimension:
 *     c[r][0:16] += a[r][k] * b[k][0:16]
 * b is read along contiguous panels, a by broadcasts. Each entry of c is one chain of multiply-adds in the order of k
 * whatever R is, so that a row's result does not depend on the rows it shares a block with.
 */
#ifndef GF_AFFINE_H
#define GF_AFFINE_H

#include <string.h>

#include "kernels.h"

#if defined(__AVX512F__)
#define LANES 8
#define ROWS_AT_ONCE 12
#elif defined(__AVX__)
#define LANES 4
#define ROWS_AT_ONCE 3
#elif defined(__GNUC__)
#define LANES 2
#define ROWS_AT_ONCE 1
#else
#define LANES 1
#define ROWS_AT_ONCE 1
#endif

#if defined(__GNUC__)
typedef double lanes __attribute__((vector_size(LANES * sizeof(double)), aligned(sizeof(double)), may_alias));
#define ALWAYS_INLINE inline __attribute__((always_inline))
#else
typedef double lanes;
#define ALWAYS_INLINE inline
#endif
#define VECTORS (GF_PANEL / LANES)

static ALWAYS_INLINE void micro_kernel(const int rows, ptrdiff_t inner, const double *a, ptrdiff_t a_row,
                                       ptrdiff_t a_column, const double *b, double *c, ptrdiff_t c_row,
                                       int accumulate) {
    lanes sum[ROWS_AT_ONCE][VECTORS];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < VECTORS; v++)
            sum[r][v] = accumulate ? *(const lanes *)(c + r * c_row + v * LANES) : (lanes){0};
    for (ptrdiff_t k = 0; k < inner; k++) {
        const lanes *bk = (const lanes *)(b + k * GF_PANEL);
        for (int r = 0; r < rows; r++) {
            double ark = a[r * a_row + k * a_column];
            for (int v = 0; v < VECTORS; v++) sum[r][v] += ark * bk[v];
        }
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < VECTORS; v++) *(lanes *)(c + r * c_row + v * LANES) = sum[r][v];
}

#define MICRO_KERNEL(R) micro_kernel(R, inner, a + r * a_row, a_row, a_column, bp, cp + r * c_row, c_row, accumulate)

/* c = or += a b */
static void matmul(ptrdiff_t rows, ptrdiff_t inner, ptrdiff_t panels, const double *a, ptrdiff_t a_row,
                   ptrdiff_t a_column, const double *b, ptrdiff_t b_panel, double *c, ptrdiff_t c_row,
                   ptrdiff_t c_panel, int accumulate) {
    for (ptrdiff_t p = 0; p < panels; p++) {
        const double *bp = b + p * b_panel;
        double *cp = c + p * c_panel;
        ptrdiff_t r = 0;
        for (; r + ROWS_AT_ONCE <= rows; r += ROWS_AT_ONCE) MICRO_KERNEL(ROWS_AT_ONCE);
#if ROWS_AT_ONCE > 4
        for (; r + 4 <= rows; r += 4) MICRO_KERNEL(4);
#endif
        for (; r < rows; r++) MICRO_KERNEL(1);
    }
}

/* c[r] = or += d[r] * b[column[r]]: the product with a difference that lies in one column of each row */
static void select_rows(ptrdiff_t rows, ptrdiff_t panels, const double *d, const ptrdiff_t *column, const double *b,
                        ptrdiff_t b_panel, double *c, ptrdiff_t c_row, int accumulate) {
    for (ptrdiff_t r = 0; r < rows; r++) {
        const double *row = b + column[r] * GF_PANEL;
        double *out = c + r * c_row;
        for (ptrdiff_t p = 0; p < panels; p++)
            for (int v = 0; v < VECTORS; v++) {
                lanes product = d[r] * *(const lanes *)(row + p * b_panel + v * LANES);
                lanes *target = (lanes *)(out + p * GF_PANEL + v * LANES);
                if (accumulate) product += *target;
                *target = product;
            }
    }
}

#endif
