/* The interface of the C kernels: plain C11, no Python, no OpenMP, no global state.
 *
 * kernels.c is compiled once per instruction set; each build is one table of type gf_kernels.
 * Arrays are double precision. "d" is always a difference: new value minus base value.
 */
#ifndef GF_KERNELS_H
#define GF_KERNELS_H

#include <stddef.h>

/* Parameters lie in panels of GF_PANEL columns: entry (i, j) of a matrix is at
 *     (j / GF_PANEL) * panel_stride + i * GF_PANEL + j % GF_PANEL
 * and columns beyond the last are zero. Vectors on the tape are padded with zeros or finite values to GF_PANEL. */
#define GF_PANEL 16

#if defined(__GNUC__)
#define IGNORE_ALIASING _Pragma("GCC ivdep")
#else
#define IGNORE_ALIASING
#endif

/* One elementwise operation. y holds the value and, stride apart, what the difference uses again. */
typedef struct {
    const char *name;
    ptrdiff_t cached; /* how many arrays follow y */
    void (*value)(ptrdiff_t n, const double *z, double *y, ptrdiff_t stride);
    void (*difference)(ptrdiff_t n, const double *z, const double *y, ptrdiff_t stride, const double *d, double *out);
} gf_elementwise;

/* One cost of a sample: x (n) and target, a constant of the cost, and a cache of n values if it asks for one. */
typedef struct {
    const char *name;
    int separable; /* a sum over k of a function of x[k] and target[k] alone */
    int cached;    /* 1: the value writes n numbers to cache, and the difference reads them */
    double (*value)(ptrdiff_t n, const double *x, const double *target, double constant, double *cache);
    double (*difference)(ptrdiff_t n, const double *x, const double *target, double constant, const double *cache,
                         const double *d);
} gf_cost;

typedef struct {
    const char *isa;
    ptrdiff_t n_elementwise;
    const gf_elementwise *elementwise;
    ptrdiff_t n_costs;
    const gf_cost *costs;
    /* c (rows x 16 panels) = or += a (rows x inner) b (inner x 16 panels); a[r * a_row + k * a_column] */
    void (*matmul)(ptrdiff_t rows, ptrdiff_t inner, ptrdiff_t panels, const double *a, ptrdiff_t a_row,
                   ptrdiff_t a_column, const double *b, ptrdiff_t b_panel, double *c, ptrdiff_t c_row,
                   ptrdiff_t c_panel, int accumulate);
    /* c[r] = or += d[r] * (row column[r] of b) */
    void (*select_rows)(ptrdiff_t rows, ptrdiff_t panels, const double *d, const ptrdiff_t *column, const double *b,
                        ptrdiff_t b_panel, double *c, ptrdiff_t c_row, int accumulate);
    void (*softmax_value)(ptrdiff_t n, const double *z, double *p);
    void (*softmax_difference)(ptrdiff_t n, const double *p, const double *d, double *out);
} gf_kernels;

/* The kernels compiled for an instruction set, or NULL where this build or this CPU lacks it. */
const gf_kernels *gf_kernels_for(const char *isa);

/* The instruction sets of this build, best first, ending with NULL. */
extern const char *const gf_instruction_sets[];

#endif
