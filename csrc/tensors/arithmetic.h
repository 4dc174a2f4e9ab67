/* The operations on two tensors, entry by entry, and the choice between two tensors. */
#ifndef GF_TENSORS_ARITHMETIC_H
#define GF_TENSORS_ARITHMETIC_H

#include "steps/pairwise.h"
#include "tensors/tensors.h"

static void pairwise_value(const gf_step *step, const gf_region *region, double *scratch) {
    const gf_tensor *f = input_of(step, 0), *g = input_of(step, 1), *y = output_of(step);
    (void)scratch;
    for (ptrdiff_t i = region->first; i < region->last; i++)
        pairwise_table[step->operation].value(region->end - region->begin, at(f, f->value, i, region->begin),
                                              at(g, g->value, i, region->begin), at(y, y->value, i, region->begin));
}

/* A change over its scale, as a row of numbers: in place if the scale is 1, else in `scratch`; NULL if there is none. */
static const double *scaled_change(const gf_tensor *tensor, ptrdiff_t s, ptrdiff_t i, ptrdiff_t j, ptrdiff_t n,
                                   double *scratch) {
    if (!changes(tensor)) return NULL;
    if (tensor->scale[s] == 1.0) return at(tensor, tensor->change[s], i, j);
    scale_into(n, tensor->scale[s], at(tensor, tensor->change[s], i, j), scratch, 0);
    return scratch;
}

static void pairwise_change(const gf_step *step, const gf_region *region, ptrdiff_t wanted, double *scratch) {
    const gf_tensor *f = input_of(step, 0), *g = input_of(step, 1), *y = output_of(step);
    for (ptrdiff_t s = 0; s < wanted; s++)
        for (ptrdiff_t i = region->first; i < region->last; i++)
            for (ptrdiff_t j = region->begin; j < region->end; j += AT_ONCE) {
                ptrdiff_t n = region->end - j < AT_ONCE ? region->end - j : AT_ONCE;
                pairwise_table[step->operation].difference(
                    n, at(f, f->value, i, j), at(g, g->value, i, j), scaled_change(f, s, i, j, n, scratch),
                    scaled_change(g, s, i, j, n, scratch + AT_ONCE), at(y, y->change[s], i, j));
            }
}

static void pairwise_back(const gf_step *step, ptrdiff_t k, const gf_region *region, double h, int accumulate,
                          double *scratch) {
    const gf_tensor *f = input_of(step, 0), *g = input_of(step, 1), *to = input_of(step, k), *y = output_of(step);
    (void)scratch;
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
    (void)scratch;
    for (ptrdiff_t i = region->first; i < region->last; i++) {
        const gf_tensor *x = chosen(step, i);
        scale_into(region->end - region->begin, 1.0, at(x, x->value, i, region->begin),
                   at(y, y->value, i, region->begin), 0);
    }
}

static void where_change(const gf_step *step, const gf_region *region, ptrdiff_t wanted, double *scratch) {
    const gf_tensor *y = output_of(step);
    ptrdiff_t n = region->end - region->begin;
    (void)scratch;
    for (ptrdiff_t s = 0; s < wanted; s++)
        for (ptrdiff_t i = region->first; i < region->last; i++) {
            const gf_tensor *x = chosen(step, i);
            double *out = at(y, y->change[s], i, region->begin);
            if (changes(x)) scale_into(n, x->scale[s], at(x, x->change[s], i, region->begin), out, 0);
            else memset(out, 0, (size_t)n * sizeof(double));
        }
}

static void where_back(const gf_step *step, ptrdiff_t k, const gf_region *region, double h, int accumulate,
                       double *scratch) {
    const gf_tensor *mask = input_of(step, 0), *to = input_of(step, k), *y = output_of(step);
    ptrdiff_t n = region->end - region->begin;
    (void)scratch, (void)h;
    for (ptrdiff_t i = region->first; i < region->last; i++) {
        double *out = at(to, to->back, i, region->begin);
        if ((*at(mask, mask->value, i, 0) != 0.0) == (k == 1))
            scale_into(n, 1.0, at(y, y->back, i, region->begin), out, accumulate);
        else if (!accumulate)
            memset(out, 0, (size_t)n * sizeof(double));
    }
}

#endif
