/* Softmax along the last axis, and the costs: what needs whole rows.
 *
 * A cost has the inputs x, y and perhaps a mask of one column; its output has one column. Its reals are the constant and
 * the scale. What comes back to a cost is 1: the cost of a program is the sum of all its costs.
 */
#ifndef GF_TENSORS_REDUCTIONS_H
#define GF_TENSORS_REDUCTIONS_H

#include "steps/costs.h"
#include "steps/softmax.h"
#include "tensors/tensors.h"

static void softmax_rows(const gf_step *step, const gf_region *region, double *scratch) {
    const gf_tensor *z = input_of(step, 0), *y = output_of(step);
    UNUSED(scratch);
    for (ptrdiff_t i = region->first; i < region->last; i++)
        softmax_value(z->columns, at(z, z->value, i, 0), at(y, y->value, i, 0));
}

static void softmax_change(const gf_step *step, const gf_region *region, ptrdiff_t wanted, double *scratch) {
    const gf_tensor *z = input_of(step, 0), *y = output_of(step);
    UNUSED(scratch);
    for (ptrdiff_t s = 0; s < wanted; s++)
        for (ptrdiff_t i = region->first; i < region->last; i++)
            softmax_difference(z->columns, at(y, y->value, i, 0), at(z, z->change[s], i, 0),
                               at(y, y->change[s], i, 0));
}

/* The Jacobian of softmax is symmetric, so that what goes back is a central difference of softmax along what comes back. */
static void softmax_back(const gf_step *step, ptrdiff_t k, const gf_region *region, double h, int accumulate,
                         double *scratch) {
    const gf_tensor *z = input_of(step, k), *y = output_of(step);
    ptrdiff_t n = z->columns, panels = (n + GF_PANEL - 1) / GF_PANEL * GF_PANEL;
    for (ptrdiff_t i = region->first; i < region->last; i++) {
        const double *up = at(y, y->back, i, 0), *p = at(y, y->value, i, 0);
        double *back = at(z, z->back, i, 0), largest_up = 1.0;
        for (ptrdiff_t j = 0; j < n; j++) largest_up = fabs(up[j]) > largest_up ? fabs(up[j]) : largest_up;
        double step_along = h / largest_up;
        /* three padded rows of scratch memory, which has room for four of the widest tensor (plan.py) */
        double *d = scratch, *plus = scratch + panels, *minus = scratch + 2 * panels;
        scale_into(n, step_along, up, d, 0);
        softmax_difference(n, p, d, plus);
        scale_into(n, -step_along, up, d, 0);
        softmax_difference(n, p, d, minus);
        for (ptrdiff_t j = 0; j < n; j++)
            back[j] = (accumulate ? back[j] : 0.0) + (plus[j] - minus[j]) / (2.0 * step_along);
    }
}

/* ---- costs */

static int counts(const gf_step *step, ptrdiff_t i) {
    if (step->n_inputs < 3) return 1;
    const gf_tensor *mask = input_of(step, 2);
    return *at(mask, mask->value, i, 0) != 0.0;
}

static void cost_rows(const gf_step *step, const gf_region *region, double *scratch) {
    const gf_tensor *x = input_of(step, 0), *target = input_of(step, 1), *y = output_of(step);
    UNUSED(scratch);
    for (ptrdiff_t i = region->first; i < region->last; i++) {
        double *to = at(y, y->value, i, 0);
        to[0] = 0.0;
        if (counts(step, i))
            to[0] = step->reals[1] * cost_table[step->operation].value(x->columns, at(x, x->value, i, 0),
                                                                       at(target, target->value, i, 0), step->reals[0],
                                                                       to + y->stride, y->stride);
    }
}

static void cost_change(const gf_step *step, const gf_region *region, ptrdiff_t wanted, double *scratch) {
    const gf_tensor *x = input_of(step, 0), *target = input_of(step, 1), *y = output_of(step);
    UNUSED(scratch);
    for (ptrdiff_t i = region->first; i < region->last; i++) {
        double both[2] = {0.0, 0.0};
        if (counts(step, i))
            cost_table[step->operation].changes(
                x->columns, at(x, x->value, i, 0), at(target, target->value, i, 0), step->reals[0],
                at(y, y->value, i, 0) + y->stride, y->stride, at(x, x->change[0], i, 0),
                at(x, x->change[wanted - 1], i, 0), both);
        for (ptrdiff_t s = 0; s < wanted; s++) *at(y, y->change[s], i, 0) = step->reals[1] * both[s];
    }
}

static void cost_back(const gf_step *step, ptrdiff_t k, const gf_region *region, double h, int accumulate,
                      double *scratch) {
    const gf_tensor *x = input_of(step, k), *target = input_of(step, 1), *y = output_of(step);
    UNUSED(scratch);
    for (ptrdiff_t i = region->first; i < region->last; i++) {
        double *back = at(x, x->back, i, 0), *out = accumulate ? scratch : back;
        if (counts(step, i)) {
            cost_table[step->operation].slopes(x->columns, at(x, x->value, i, 0), at(target, target->value, i, 0),
                                               step->reals[0], at(y, y->value, i, 0) + y->stride, y->stride, h, out);
            scale_into(x->columns, step->reals[1], out, back, accumulate);
        } else if (!accumulate) {
            memset(back, 0, (size_t)x->columns * sizeof(double));
        }
    }
}

#endif
