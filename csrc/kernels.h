/* The interface of the C kernels: plain C11, no Python, no OpenMP, no global state.
 *
 * kernels.c is compiled once per instruction set; each build is one table of type gf_kernels.
 * Arrays are double precision. "d" is always a difference: new value minus base value. Perturbations come in pairs, by
 * +h and by -h, and so do differences: they share their base values.
 */
#ifndef GF_KERNELS_H
#define GF_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* Vectors on the tape and differences are padded to panels of GF_PANEL numbers: with finite values on the tape, with
 * zeros in differences. Parameters lie in panels of GF_PANEL columns: entry (i, j) of a matrix is at
 *     (j / GF_PANEL) * panel_stride + i * GF_PANEL + j % GF_PANEL
 * and columns beyond the last are zero. */
#define GF_PANEL 16

/* A block of pairs, each as one sample sees it. A pair has two rows, +h and -h; or one, its odd half (see odd.h). */
typedef struct {
    ptrdiff_t count, capacity, rows;
    const ptrdiff_t *sample; /* row of the tape */
    const ptrdiff_t *column; /* that is perturbed */
    const double *tape;
    ptrdiff_t tape_stride;
    const double *slopes; /* for odd halves: rows like those of the tape */
    ptrdiff_t slope_stride;
} gf_pairs;

/* The differences of a block of pairs. Dense: rows of their own, +h and -h of the first pair, of the second, ...:
 *     entry i of row r is rows[r * row + i].
 * Selected: both are multiples of the matrix row that belongs to the pair's column, in panels:
 *     entry 16 q + i of the pair p is scale[p], and for -h scale[capacity + p], times
 *     rows[q * panel + 16 column[p] + i];
 * squares[column[p]] is the sum of the squares of that row. */
typedef struct {
    const double *rows;
    ptrdiff_t row;       /* dense */
    const double *scale; /* selected, else NULL */
    ptrdiff_t panel;
    const double *squares;
} gf_difference;

/* A function that the kernels use inline, for tests. */
typedef struct {
    const char *name;
    void (*apply)(ptrdiff_t n, const double *x, double *y);
} gf_function;

/* One elementwise operation. y holds the value and, stride apart, what the difference uses again. */
typedef struct {
    const char *name;
    ptrdiff_t cached; /* how many arrays follow y */
    ptrdiff_t kinks;  /* how many z there are at which the slope jumps */
    double kink[2];   /* these z */
    void (*value)(ptrdiff_t n, const double *z, double *y, ptrdiff_t stride);
    /* of the pairs begin..end, in dense rows from out on, which may be those of d; z and y are places on the tape */
    void (*difference)(const gf_pairs *pairs, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t panels, ptrdiff_t z,
                       ptrdiff_t y, ptrdiff_t stride, const gf_difference *d, double *out, ptrdiff_t row);
    /* of numbers d in each pair's column: of all +h, then, capacity apart, of all -h */
    void (*column_difference)(const gf_pairs *pairs, ptrdiff_t z, ptrdiff_t y, ptrdiff_t stride, const double *d,
                              double *out);
    /* of n entries side by side: out = f(z + d) - f(z), and out = (f(z + h) - f(z - h)) / 2h */
    void (*change)(ptrdiff_t n, const double *z, const double *y, ptrdiff_t stride, const double *d, double *out);
    void (*slopes)(ptrdiff_t n, const double *z, const double *y, ptrdiff_t stride, double h, double *out);
} gf_elementwise;

/* One function of two vectors, entry by entry. */
typedef struct {
    const char *name;
    void (*value)(ptrdiff_t n, const double *f, const double *g, double *out);
    /* df or dg may be NULL, no difference, but not both; out may be either */
    void (*difference)(ptrdiff_t n, const double *f, const double *g, const double *df, const double *dg, double *out);
    /* half of what it is for (df, dg) minus what it is for (-df, -dg) */
    void (*odd)(ptrdiff_t n, const double *f, const double *g, const double *df, const double *dg, double *out);
    /* out = or += up times the slope by f (k = 0) or by g (k = 1), a central difference with the step h */
    void (*back)(ptrdiff_t n, const double *f, const double *g, ptrdiff_t k, double h, const double *up, double *out,
                 int accumulate);
} gf_pairwise;

/* Where a cost finds its arguments: x and its cache on the tape; only samples in which the mask, if any, is not 0. */
typedef struct {
    ptrdiff_t n, x, cache, stride, mask; /* mask: -1 if none */
    const double *targets;               /* of the first sample; readable up to whole panels */
    ptrdiff_t target_stride;
    double constant, scale;
} gf_cost_place;

/* One cost of a sample: x (n) and target, a constant of the cost, and what the value caches, stride apart. */
typedef struct {
    const char *name;
    int separable;    /* a sum over k of a function of x[k] and target[k] alone */
    ptrdiff_t cached; /* how many arrays the value writes, and the difference reads */
    int kink;         /* whether the slope jumps where x[k] is target[k] */
    double (*value)(ptrdiff_t n, const double *x, const double *target, double constant, double *cache,
                    ptrdiff_t stride);
    /* change[p], and for -h change[capacity + p], += scale * difference; d: dense rows, or (row = 0) columns */
    void (*difference)(const gf_pairs *pairs, const gf_cost_place *place, const double *d, ptrdiff_t row,
                       double *change);
    /* the exact differences of one sample's cost: change[0] for plus, change[1] for minus */
    void (*changes)(ptrdiff_t n, const double *x, const double *target, double constant, const double *cache,
                    ptrdiff_t stride, const double *plus, const double *minus, double *change);
    /* out[k] = (cost(x[k] + h) - cost(x[k] - h)) / 2h, where the other entries stay as they are */
    void (*slopes)(ptrdiff_t n, const double *x, const double *target, double constant, const double *cache,
                   ptrdiff_t stride, double h, double *out);
} gf_cost;

/* ---- steps over tensors */

/* A tensor as steps see it: a matrix, of which the last axis is the columns and all others together are the rows.
 * Entry (i, j) is at value[i * row + j], and so it is in back and change. Rows of steps are padded to whole panels. */
typedef struct {
    ptrdiff_t rows, columns, row;
    double *value;
    ptrdiff_t stride;  /* from the value to the first array that is cached with it, and from that to the next */
    double *back;      /* the derivative of the cost by each entry; NULL if it is not wanted */
    double *change[2]; /* two differences of the tensor; NULL where there is none */
    double scale[2];   /* what these are multiplied by: 1, but for parameters, which only affine steps read */
} gf_tensor;

/* A step: what it reads, what it writes, and its attributes, whose meaning is the primitive's. */
typedef struct {
    const gf_tensor *tensors;
    const ptrdiff_t *inputs; /* the numbers of the tensors that it reads */
    ptrdiff_t n_inputs, output, operation;
    const ptrdiff_t *integers;
    const double *reals;
} gf_step;

/* The kinds of terms of an affine step. */
#define GF_BIAS 0
#define GF_MATRIX 1
#define GF_DIAGONAL 2

/* A part of a matrix. `begin` is a multiple of GF_PANEL. */
typedef struct {
    ptrdiff_t first, last, begin, end; /* rows, columns */
} gf_region;

/* The doubles of scratch memory that a kernel of a primitive may use. */
#define GF_SCRATCH 57344

/* A primitive: its rules, each for a region of what it writes. No two regions touch the same memory. */
typedef struct {
    const char *name;
    int whole_rows; /* whether a region must have all columns */
    void (*value)(const gf_step *step, const gf_region *region, double *scratch);
    /* the changes (1 or 2) of the output, from those of the inputs */
    void (*difference)(const gf_step *step, const gf_region *region, ptrdiff_t changes, double *scratch);
    /* back of input k = or += what goes back through the step; slopes are central differences with the step h */
    void (*back)(const gf_step *step, ptrdiff_t k, const gf_region *region, double h, int accumulate, double *scratch);
} gf_primitive;

typedef struct {
    const char *isa;
    ptrdiff_t n_functions;
    const gf_function *functions;
    ptrdiff_t n_elementwise;
    const gf_elementwise *elementwise;
    ptrdiff_t n_pairwise;
    const gf_pairwise *pairwise;
    ptrdiff_t n_costs;
    const gf_cost *costs;
    ptrdiff_t n_primitives;
    const gf_primitive *primitives;
    /* c (rows x 16 panels) = or += a (rows x inner) b (inner x 16 panels); a[r * a_row + k * a_column] */
    void (*matmul)(ptrdiff_t rows, ptrdiff_t inner, ptrdiff_t panels, const double *a, ptrdiff_t a_row,
                   ptrdiff_t a_column, const double *b, ptrdiff_t b_panel, double *c, ptrdiff_t c_row,
                   ptrdiff_t c_panel, int accumulate);
    /* one panel c (rows x 16) = or += a (rows x inner) b^T, b (columns x inner); a and b are zero up to whole panels */
    void (*matmul_narrow)(ptrdiff_t rows, ptrdiff_t inner, ptrdiff_t columns, const double *a, ptrdiff_t a_row,
                          const double *b, ptrdiff_t b_row, double *c, ptrdiff_t c_row, int accumulate);
    /* an elementwise step and the narrow product that reads it; inner in whole panels; `rows` is for four rows */
    void (*elementwise_narrow)(const gf_elementwise *operation, const gf_pairs *pairs, ptrdiff_t inner, ptrdiff_t z,
                               ptrdiff_t y, ptrdiff_t stride, const gf_difference *d, double *rows, ptrdiff_t row,
                               ptrdiff_t columns, const double *b, ptrdiff_t b_row, double *c, ptrdiff_t c_row);
    /* the sum of the squares of a matrix row */
    double (*sum_of_squares)(ptrdiff_t panels, const double *row, ptrdiff_t panel);
    /* c = or += selected differences, as dense rows */
    void (*select_rows)(const gf_pairs *pairs, ptrdiff_t panels, const gf_difference *d, double *c, ptrdiff_t c_row,
                        int accumulate);
    /* crossed[p] += entries z, of n, that lie on different sides of a kink for +h and for -h; d: differences of z */
    void (*count_kinks)(const gf_elementwise *operation, const gf_pairs *pairs, ptrdiff_t n, ptrdiff_t z,
                        const gf_difference *d, ptrdiff_t *crossed);
    /* the same for one number d in each pair's column: of all +h, then, capacity apart, of all -h */
    void (*count_column_kinks)(const gf_elementwise *operation, const gf_pairs *pairs, ptrdiff_t z, const double *d,
                               ptrdiff_t *crossed);
    /* the same for x and the target of a cost; d as its difference takes it */
    void (*count_cost_kinks)(const gf_pairs *pairs, const gf_cost_place *place, const double *d, ptrdiff_t row,
                             ptrdiff_t *crossed);
    void (*softmax_value)(ptrdiff_t n, const double *z, double *p);
    void (*softmax_difference)(ptrdiff_t n, const double *p, const double *d, double *out);
    /* half of what that is for d minus what it is for -d; d is small */
    void (*softmax_odd)(ptrdiff_t n, const double *p, const double *d, double *out);
    /* odd halves of elementwise steps, of costs, and of an elementwise step with the narrow product that reads it */
    void (*odd_rows)(const gf_pairs *pairs, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t panels, ptrdiff_t slope,
                     const gf_difference *d, double *out, ptrdiff_t row);
    void (*odd_columns)(const gf_pairs *pairs, ptrdiff_t slope, const double *d, double *out);
    void (*odd_cost)(const gf_pairs *pairs, ptrdiff_t n, ptrdiff_t slope, const double *d, ptrdiff_t row,
                     double *change);
    void (*odd_narrow)(const gf_pairs *pairs, ptrdiff_t inner, ptrdiff_t slope, const gf_difference *d, double *rows,
                       ptrdiff_t row, ptrdiff_t columns, const double *b, ptrdiff_t b_row, double *c, ptrdiff_t c_row);
    /* the entries begin..end of a random direction, times scale; returns the sum of weights[k] out[k] */
    double (*draw)(ptrdiff_t begin, ptrdiff_t end, uint64_t seed, double sign, double scale, const double *weights,
                   double *out);
    /* out = x + scale y */
    void (*add_scaled)(ptrdiff_t n, const double *x, double scale, const double *y, double *out);
    /* what a comparison of two vectors needs; see comparison.h */
    void (*compare)(ptrdiff_t count, const double *a, const double *n, double relative, double *out);
    /* independent chains of n multiply-adds in registers: what the processor can do; counts their operations */
    double (*multiply_add)(ptrdiff_t n, double *result);
} gf_kernels;

/* The kernels compiled for an instruction set, or NULL where this build or this CPU lacks it. */
const gf_kernels *gf_kernels_for(const char *isa);

/* The instruction sets of this build, best first, ending with NULL. */
extern const char *const gf_instruction_sets[];

#endif
