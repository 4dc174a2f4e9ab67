/* Matrix products over panels (see kernels.h): register-blocked micro-kernels, plain C around them. */
#ifndef GF_AFFINE_H
#define GF_AFFINE_H

#include "lanes.h"

/* ---- c = a b, b in panels of 16 columns
 *
 * The micro-kernel keeps a block of R rows x 16 columns of c in registers and runs over the inner dimension:
 *     c[r][0:16] += a[r][k] * b[k][0:16]
 * b is read along contiguous panels, a by broadcasts. The inner dimension goes in pieces, such that a piece of a panel
 * stays in the nearest caches while the rows pass by; and about BLOCK_ROWS rows at a time, so that their piece stays in
 * the L2 cache while the panels pass by. Each entry of c is one chain of multiply-adds in the order of k for each piece,
 * whatever R is, so that a row's result does not depend on the rows it shares a block with. */
#if LANES == 8
#define ROWS_AT_ONCE 12
#elif LANES == 4
#define ROWS_AT_ONCE 3
#else
#define ROWS_AT_ONCE 1
#endif
#define INNER_AT_ONCE 384
#define FAR_PANELS (48 * 1024) /* panel rows, 6 MiB */
#define BLOCK_ROWS (8 * ROWS_AT_ONCE)

static ALWAYS_INLINE void micro_kernel(const int rows, ptrdiff_t inner, const double *a, ptrdiff_t a_row,
                                       ptrdiff_t a_column, const double *b, const double *ahead, ptrdiff_t step,
                                       double *c, ptrdiff_t c_row, int accumulate) {
    lanes sum[ROWS_AT_ONCE][VECTORS] = {{{0}}};
    if (accumulate)
        for (int r = 0; r < rows; r++)
            for (int v = 0; v < GF_PANEL; v += 8) PREFETCH(c + r * c_row + v);
    for (ptrdiff_t k = 0; k < inner; k++) {
        const double *bk = b + k * GF_PANEL;
        if (step) PREFETCH(ahead + k * step);
        for (int r = 0; r < rows; r++) {
            double ark = a[r * a_row + k * a_column];
            for (int v = 0; v < VECTORS; v++) sum[r][v] += ark * load(bk + v * LANES);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < VECTORS; v++) {
            double *out = c + r * c_row + v * LANES;
            if (accumulate) sum[r][v] += load(out);
            store(out, sum[r][v]);
        }
}

#define MICRO_KERNEL(R)                                                                                            \
    micro_kernel(R, inner, a + r * a_row, a_row, a_column, b, next + r / ROWS_AT_ONCE * step * inner, step,        \
                 c + r * c_row, c_row, accumulate)

/* With step > 0, the rows together fetch the next panel: each step doubles in each turn of the inner loop. */
static ALWAYS_INLINE void one_panel(ptrdiff_t rows, ptrdiff_t inner, const double *a, ptrdiff_t a_row,
                                    ptrdiff_t a_column, const double *b, const double *next, ptrdiff_t step, double *c,
                                    ptrdiff_t c_row, int accumulate) {
    ptrdiff_t r = 0;
    for (; r + ROWS_AT_ONCE <= rows; r += ROWS_AT_ONCE) MICRO_KERNEL(ROWS_AT_ONCE);
#if ROWS_AT_ONCE > 4
    for (; r + 4 <= rows; r += 4) MICRO_KERNEL(4);
#endif
    for (; r < rows; r++) MICRO_KERNEL(1);
}

static void near_panel(ptrdiff_t rows, ptrdiff_t inner, const double *a, ptrdiff_t a_row, ptrdiff_t a_column,
                       const double *b, double *c, ptrdiff_t c_row, int accumulate) {
    one_panel(rows, inner, a, a_row, a_column, b, b, 0, c, c_row, accumulate);
}

/* Of a matrix that lies in memory, or in a distant cache. */
static void far_panel(ptrdiff_t rows, ptrdiff_t inner, const double *a, ptrdiff_t a_row, ptrdiff_t a_column,
                      const double *b, const double *next, double *c, ptrdiff_t c_row, int accumulate) {
    ptrdiff_t passes = rows / ROWS_AT_ONCE + 1, step = (GF_PANEL + passes - 1) / passes;
    one_panel(rows, inner, a, a_row, a_column, b, next, step, c, c_row, accumulate);
}

static void matmul(ptrdiff_t rows, ptrdiff_t inner, ptrdiff_t panels, const double *a, ptrdiff_t a_row,
                   ptrdiff_t a_column, const double *b, ptrdiff_t b_panel, double *c, ptrdiff_t c_row,
                   ptrdiff_t c_panel, int accumulate) {
    ptrdiff_t k = 0, blocks = (rows + BLOCK_ROWS / 2) / BLOCK_ROWS + (rows < BLOCK_ROWS / 2);
    ptrdiff_t block = (rows / (blocks * ROWS_AT_ONCE) + 1) * ROWS_AT_ONCE;
    do { /* once even for an inner dimension of zero: c may have to become zero */
        ptrdiff_t some = inner - k < INNER_AT_ONCE ? inner - k : INNER_AT_ONCE;
        for (ptrdiff_t r = 0; r < rows; r += block)
            for (ptrdiff_t p = 0; p < panels; p++) {
                ptrdiff_t count = rows - r < block ? rows - r : block;
                const double *ak = a + r * a_row + k * a_column, *bk = b + p * b_panel + k * GF_PANEL;
                double *out = c + r * c_row + p * c_panel;
                if (inner * panels > FAR_PANELS)
                    far_panel(count, some, ak, a_row, a_column, bk, bk + b_panel, out, c_row, accumulate || k > 0);
                else
                    near_panel(count, some, ak, a_row, a_column, bk, out, c_row, accumulate || k > 0);
            }
        k += some;
    } while (k < inner);
}

/* ---- c = a b^T for few columns: the inner dimension lies in the lanes, so that no lane is spent on padding
 *
 *     sum[r][c][lane] += a[r][k + lane] * b[c][k + lane]
 */
#if LANES == 8
#define NARROW_ROWS 4
#define NARROW_COLUMNS 5
#elif LANES == 4
#define NARROW_ROWS 2
#define NARROW_COLUMNS 5
#else
#define NARROW_ROWS 2
#define NARROW_COLUMNS 2
#endif

static ALWAYS_INLINE void narrow_kernel(const int rows, const int columns, ptrdiff_t inner, const double *a,
                                        ptrdiff_t a_row, const double *b, ptrdiff_t b_row, double *c, ptrdiff_t c_row,
                                        int accumulate) {
    lanes sum[NARROW_ROWS][NARROW_COLUMNS] = {{{0}}};
    for (ptrdiff_t k = 0; k < inner; k += LANES) {
        lanes ak[NARROW_ROWS];
        for (int r = 0; r < rows; r++) ak[r] = load(a + r * a_row + k);
        for (int j = 0; j < columns; j++) {
            lanes bk = load(b + j * b_row + k);
            for (int r = 0; r < rows; r++) sum[r][j] += ak[r] * bk;
        }
    }
#if LANES == 8 && NARROW_COLUMNS == 5
    if (columns == 5) { /* what is written beyond is in the panel, and comes next or is zero */
        UNROLL for (int r = 0; r < rows; r++) {
            lanes total = five_sums(sum[r][0], sum[r][1], sum[r][2], sum[r][3], sum[r][4]);
            if (accumulate) total += load(c + r * c_row);
            store(c + r * c_row, total);
        }
        return;
    }
#endif
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int j = 0; j < columns; j++) {
            double total = sum_of_lanes(sum[r][j]);
            c[r * c_row + j] = accumulate ? c[r * c_row + j] + total : total;
        }
}

#define NARROW_KERNEL(R, C) \
    narrow_kernel(R, C, inner, a + r * a_row, a_row, b + j * b_row, b_row, c + r * c_row + j, c_row, accumulate)

static void matmul_narrow(ptrdiff_t rows, ptrdiff_t inner, ptrdiff_t columns, const double *a, ptrdiff_t a_row,
                          const double *b, ptrdiff_t b_row, double *c, ptrdiff_t c_row, int accumulate) {
    ptrdiff_t j = 0;
    inner = (inner + GF_PANEL - 1) / GF_PANEL * GF_PANEL;
    for (; j + NARROW_COLUMNS <= columns; j += NARROW_COLUMNS) {
        ptrdiff_t r = 0;
        for (; r + NARROW_ROWS <= rows; r += NARROW_ROWS) NARROW_KERNEL(NARROW_ROWS, NARROW_COLUMNS);
        for (; r < rows; r++) NARROW_KERNEL(1, NARROW_COLUMNS);
    }
    for (; j < columns; j++) {
        ptrdiff_t r = 0;
        for (; r + NARROW_ROWS <= rows; r += NARROW_ROWS) NARROW_KERNEL(NARROW_ROWS, 1);
        for (; r < rows; r++) NARROW_KERNEL(1, 1);
    }
    if (!accumulate)
        for (ptrdiff_t r = 0; r < rows; r++)
            for (ptrdiff_t j = columns; j < GF_PANEL; j++) c[r * c_row + j] = 0.0;
}

/* ---- differences that are multiples of a matrix row */
static double sum_of_squares(ptrdiff_t panels, const double *row, ptrdiff_t panel) {
    lanes sum[2][VECTORS] = {{{0}}}; /* two chains for each vector of a panel */
    for (ptrdiff_t p = 0; p < panels; p++)
        for (int v = 0; v < VECTORS; v++) {
            lanes x = load(row + p * panel + v * LANES);
            sum[p & 1][v] += x * x;
        }
    lanes total = {0};
    for (int v = 0; v < VECTORS; v++) total += sum[0][v] + sum[1][v];
    return sum_of_lanes(total);
}

static void select_rows(const gf_pairs *pairs, ptrdiff_t panels, const gf_difference *d, double *c, ptrdiff_t c_row,
                        int accumulate) {
    for (ptrdiff_t r = 0; r < pairs->rows * pairs->count; r++) {
        ptrdiff_t pair = pairs->rows == 2 ? r / 2 : r;
        const double *row = d->rows + pairs->column[pair] * GF_PANEL;
        double scale = d->scale[(r - pairs->rows * pair) * pairs->capacity + pair];
        for (ptrdiff_t p = 0; p < panels; p++)
            for (int v = 0; v < VECTORS; v++) {
                double *out = c + r * c_row + p * GF_PANEL + v * LANES;
                lanes product = scale * load(row + p * d->panel + v * LANES);
                if (accumulate) product += load(out);
                store(out, product);
            }
    }
}

/* ---- the processor's own limit: chains of multiply-adds that wait for nothing but each other */
#define CHAINS (LANES == 8 ? 24 : 12)
static double multiply_add(ptrdiff_t n, double *result) {
    lanes sum[CHAINS], factor = (lanes){0} + 0.999999, term = (lanes){0} + 1e-9;
    UNROLL for (int k = 0; k < CHAINS; k++) sum[k] = (lanes){0} + (double)k;
    for (ptrdiff_t i = 0; i < n; i++)
        UNROLL for (int k = 0; k < CHAINS; k++) sum[k] = sum[k] * factor + term;
    UNROLL for (int k = 1; k < CHAINS; k++) sum[0] += sum[k];
    *result = sum_of_lanes(sum[0]);
    return 2.0 * CHAINS * LANES * (double)n;
}

#endif
