/* The affine step over tensors: y (m x n) = sum of a (m x inner) W (inner x n) + sum of a (m x n) w + sum of b + offset.
 *
 *     difference   da (W + dW) + a dW,   da (w + dw) + a dw,   db
 *     back         to a: up W^T, up w     to W: a^T up, the sum of a up over the rows     to b: the sum of up
 *
 * Its integers are the number of terms and the kind of each; its real is the offset.
 */
#ifndef GF_TENSORS_AFFINE_H
#define GF_TENSORS_AFFINE_H

#include "tensors/product.h"

/* Rows are summed in blocks of this many: sums of sums lose fewer digits than one long sum. */
#define SUMMED_AT_ONCE 256

static ALWAYS_INLINE factor matrix_at(const gf_tensor *tensor, const double *array, ptrdiff_t i, ptrdiff_t j) {
    return (factor){array + i * tensor->row + j, tensor->row, 1, NULL, 0.0};
}

/* The terms of a step one after the other: what is multiplied (NULL in a bias), and the parameter. */
typedef struct {
    ptrdiff_t kind;
    const gf_tensor *a, *w;
} term;

static term term_of(const gf_step *step, ptrdiff_t t) {
    ptrdiff_t k = 0;
    for (ptrdiff_t before = 0; before < t; before++) k += step->integers[1 + before] == GF_BIAS ? 1 : 2;
    ptrdiff_t kind = step->integers[1 + t];
    return (term){kind, kind == GF_BIAS ? NULL : input_of(step, k), input_of(step, kind == GF_BIAS ? k : k + 1)};
}

/* out (m x n) = or += a region of the term, for other numbers in place of a and w */
static void add_term(term t, const gf_region *region, double *a, factor w, double *out, ptrdiff_t row, double *scratch) {
    ptrdiff_t m = region->last - region->first, n = region->end - region->begin;
    w = part_of(w, 0, region->begin);
    if (t.kind == GF_MATRIX) {
        product(m, n, t.w->rows, matrix_at(t.a, a, region->first, 0), w, out, row, 1, scratch);
        return;
    }
    for (ptrdiff_t i = 0; i < m; i++) {
        const double *factors = t.kind == GF_DIAGONAL ? at(t.a, a, region->first + i, region->begin) : NULL;
        IGNORE_ALIASING for (ptrdiff_t j = 0; j < n; j++) {
            double own = w.more ? w.at[j] + w.scale * w.more[j] : w.at[j];
            out[i * row + j] += factors ? factors[j] * own : own;
        }
    }
}

static void fill_region(const gf_tensor *y, const gf_region *region, double *array, double number) {
    for (ptrdiff_t i = region->first; i < region->last; i++)
        for (ptrdiff_t j = region->begin; j < region->end; j++) *at(y, array, i, j) = number;
}

static void affine_value(const gf_step *step, const gf_region *region, double *scratch) {
    const gf_tensor *y = output_of(step);
    fill_region(y, region, y->value, step->reals[0]);
    for (ptrdiff_t t = 0; t < step->integers[0]; t++) {
        term own = term_of(step, t);
        add_term(own, region, own.a ? own.a->value : NULL, matrix_at(own.w, own.w->value, 0, 0),
                 at(y, y->value, region->first, region->begin), y->row, scratch);
    }
}

/* The parameters' own part, sum of a dW + a dw + db, is computed once, and scaled for each change. */
static void affine_change(const gf_step *step, const gf_region *region, ptrdiff_t changes_wanted, double *scratch) {
    const gf_tensor *y = output_of(step), *parameter = NULL;
    double *first = at(y, y->change[0], region->first, region->begin);
    fill_region(y, region, y->change[0], 0.0);
    for (ptrdiff_t t = 0; t < step->integers[0]; t++) {
        term own = term_of(step, t);
        if (!changes(own.w)) continue;
        parameter = own.w;
        add_term(own, region, own.a ? own.a->value : NULL, matrix_at(own.w, own.w->change[0], 0, 0), first, y->row,
                 scratch);
    }
    for (ptrdiff_t s = changes_wanted - 1; s >= 0; s--)
        for (ptrdiff_t i = region->first; i < region->last; i++)
            scale_into(region->end - region->begin, parameter ? parameter->scale[s] : 0.0,
                       at(y, y->change[0], i, region->begin), at(y, y->change[s], i, region->begin), 0);
    for (ptrdiff_t s = 0; s < changes_wanted; s++)
        for (ptrdiff_t t = 0; t < step->integers[0]; t++) {
            term own = term_of(step, t);
            if (own.a == NULL || !changes(own.a)) continue;
            factor moved = matrix_at(own.w, own.w->value, 0, 0);
            moved.more = own.w->change[s];
            moved.scale = own.w->scale[s];
            add_term(own, region, own.a->change[s], moved, at(y, y->change[s], region->first, region->begin), y->row,
                     scratch);
        }
}

/* The region is one of a, W, w or b, whichever input k is. */
static void affine_back(const gf_step *step, ptrdiff_t k, const gf_region *region, double h, int accumulate,
                        double *scratch) {
    const gf_tensor *y = output_of(step), *to = input_of(step, k);
    ptrdiff_t t = 0, before = 0, m = region->last - region->first, n = region->end - region->begin;
    while (before + (step->integers[1 + t] != GF_BIAS) < k) before += step->integers[1 + t++] == GF_BIAS ? 1 : 2;
    term own = term_of(step, t);
    double *out = at(to, to->back, region->first, region->begin);
    int is_parameter = own.kind == GF_BIAS || k == before + 1;
    UNUSED(h);
    if (own.kind == GF_MATRIX && is_parameter) {
        product(m, n, y->rows, transposed(matrix_at(own.a, own.a->value, 0, region->first)),
                matrix_at(y, y->back, 0, region->begin), out, to->row, accumulate, scratch);
    } else if (own.kind == GF_MATRIX) {
        product(m, n, y->columns, matrix_at(y, y->back, region->first, 0),
                transposed(matrix_at(own.w, own.w->value, region->begin, 0)), out, to->row, accumulate, scratch);
    } else if (!is_parameter) {
        for (ptrdiff_t i = 0; i < m; i++)
            multiply_into(n, own.w->value + region->begin, at(y, y->back, region->first + i, region->begin),
                          out + i * to->row, accumulate);
    } else {
        if (!accumulate) memset(out, 0, (size_t)n * sizeof(double));
        for (ptrdiff_t first = 0; first < y->rows; first += SUMMED_AT_ONCE) {
            ptrdiff_t last = first + SUMMED_AT_ONCE < y->rows ? first + SUMMED_AT_ONCE : y->rows;
            for (ptrdiff_t i = first; i < last; i++) {
                const double *up = at(y, y->back, i, region->begin);
                if (own.kind == GF_DIAGONAL)
                    multiply_into(n, at(own.a, own.a->value, i, region->begin), up, scratch, i > first);
                else scale_into(n, 1.0, up, scratch, i > first);
            }
            scale_into(n, 1.0, scratch, out, 1);
        }
    }
}

#endif
