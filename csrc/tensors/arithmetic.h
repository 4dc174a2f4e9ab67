/* The operations on two tensors f and g (m x n), entry by entry, and the choice between two tensors:
 *
 *     y[i][j] = f[i][j] op g[i][j]        y[i] = mask[i] != 0 ? f[i] : g[i], for a mask (m x 1)
 */
#ifndef GF_TENSORS_ARITHMETIC_H
#define GF_TENSORS_ARITHMETIC_H

#include "steps/pairwise.h"
#include "tensors/tensors.h"

static void pairwise_value(const gf_step *step, const gf_region *region, double *scratch) {
    const gf_tensor *f = input_of(step, 0), *g = input_of(step, 1), *y = output_of(step);
    UNUSED(scratch);
    for (ptrdiff_t i = region->first; i < region->last; i++)
        pairwise_table[step->operation].value(region->end - region->begin, at(f, f->value, i, region->begin),
                                              at(g, g->value, i, region->begin), at(y, y->value, i, region->begin));
}

static void pairwise_change(const gf_step *step, const gf_region *region, ptrdiff_t wanted, double *scratch) {
    const gf_tensor *f = input_of(step, 0), *g = input_of(step, 1), *y = output_of(step);
    UNUSED(scratch);
    for (ptrdiff_t s = 0; s < wanted; s++)
        for (ptrdiff_t i = region->first; i < region->last; i++)
            pairwise_table[step->operation].difference(
                region->end - region->begin, at(f, f->value, i, region->begin), at(g, g->value, i, region->begin),
                changes(f) ? at(f, f->change[s], i, region->begin) : NULL,
                changes(g) ? at(g, g->change[s], i, region->begin) : NULL, at(y, y->change[s], i, region->begin));
}

static void pairwise_back(const gf_step *step, ptrdiff_t k, const gf_region *region, double h, int accumulate,
                          double *scratch) {
    const gf_tensor *f = input_of(step, 0), *g = input_of(step, 1), *to = input_of(step, k), *y = output_of(step);
    UNUSED(scratch);
    for (ptrdiff_t i = region->first; i < region->last; i++)
        pairwise_table[step->operation].back(region->end - region->begin, at(f, f->value, i, region->begin),
                                             at(g, g->value, i, region->begin), k, h, at(y, y->back, i, region->begin),
                                             at(to, to->back, i, region->begin), accumulate);
}

/* where: input 1 in the rows in which input 0, of one column, is not 0, and input 2 in the others */
static ALWAYS_INLINE const gf_tensor *chosen(const gf_step *step, ptrdiff_t i) {
    const gf_tensor *mask = input_of(step, 0);
    return input_of(step, *at(mask, mask->value, i, 0) != 0.0 ? 1 : 2);
}

static void where_value(const gf_step *step, const gf_region *region, double *scratch) {
    const gf_tensor *y = output_of(step);
    UNUSED(scratch);
    for (ptrdiff_t i = region->first; i < region->last; i++) {
        const gf_tensor *x = chosen(step, i);
        scale_into(region->end - region->begin, 1.0, at(x, x->value, i, region->begin),
                   at(y, y->value, i, region->begin), 0);
    }
}

static void where_change(const gf_step *step, const gf_region *region, ptrdiff_t wanted, double *scratch) {
    const gf_tensor *y = output_of(step);
    ptrdiff_t n = region->end - region->begin;
    UNUSED(scratch);
    for (ptrdiff_t s = 0; s < wanted; s++)
        for (ptrdiff_t i = region->first; i < region->last; i++) {
            const gf_tensor *x = chosen(step, i);
            double *out = at(y, y->change[s], i, region->begin);
            if (changes(x)) scale_into(n, 1.0, at(x, x->change[s], i, region->begin), out, 0);
            else memset(out, 0, (size_t)n * sizeof(double));
        }
}

static void where_back(const gf_step *step, ptrdiff_t k, const gf_region *region, double h, int accumulate,
                       double *scratch) {
    const gf_tensor *mask = input_of(step, 0), *to = input_of(step, k), *y = output_of(step);
    ptrdiff_t n = region->end - region->begin;
    UNUSED(scratch), UNUSED(h);
    for (ptrdiff_t i = region->first; i < region->last; i++) {
        double *out = at(to, to->back, i, region->begin);
        if ((*at(mask, mask->value, i, 0) != 0.0) == (k == 1))
            scale_into(n, 1.0, at(y, y->back, i, region->begin), out, accumulate);
        else if (!accumulate)
            memset(out, 0, (size_t)n * sizeof(double));
    }
}

#endif
