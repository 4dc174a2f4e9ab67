/* Elementwise operations over tensors z and y (m x n): y = f(z), dy = f(z + dz) - f(z), and back of z = slope times back
 * of y, with the slope (f(z + h) - f(z - h)) / 2h. The series that a difference may use is chosen for each panel of
 * columns, by the largest change in it.
 */
#ifndef GF_TENSORS_ELEMENTWISE_H
#define GF_TENSORS_ELEMENTWISE_H

#include "rows/elementwise.h"
#include "tensors/tensors.h"

#define CHANGE_LOOP(NAME, CACHED, KNOWN)                                                                              \
    IGNORE_ALIASING for (ptrdiff_t i = q; i < end; i++) {                                                             \
        double a = CACHED > 0 ? y[stride + i] : 0.0, b = CACHED > 1 ? y[2 * stride + i] : 0.0;                        \
        out[i] = NAME##_difference(KNOWN, z[i], y[i], a, b, d[i]);                                                    \
    }
#define SLOPE_LOOP(NAME, CACHED, KNOWN)                                                                               \
    IGNORE_ALIASING for (ptrdiff_t i = 0; i < n; i++) {                                                               \
        double a = CACHED > 0 ? y[stride + i] : 0.0, b = CACHED > 1 ? y[2 * stride + i] : 0.0;                        \
        double plus = NAME##_difference(KNOWN, z[i], y[i], a, b, h);                                                  \
        out[i] = (plus - NAME##_difference(KNOWN, z[i], y[i], a, b, -h)) * per_step;                                  \
    }
#define DEFINE_TENSOR_LOOPS(NAME, CACHED, KINKS, FIRST, SECOND)                                                       \
    static void NAME##_change(ptrdiff_t n, const double *z, const double *y, ptrdiff_t stride, const double *d,       \
                              double *out) {                                                                          \
        for (ptrdiff_t q = 0; q < n; q += GF_PANEL) {                                                                 \
            ptrdiff_t end = q + GF_PANEL < n ? q + GF_PANEL : n;                                                      \
            double square = 0.0;                                                                                      \
            for (ptrdiff_t i = q; i < end; i++) square += d[i] * d[i];                                                \
            switch (range_of(square)) {                                                                               \
                case TINY: CHANGE_LOOP(NAME, CACHED, TINY) break;                                                     \
                case SMALL: CHANGE_LOOP(NAME, CACHED, SMALL) break;                                                   \
                default: CHANGE_LOOP(NAME, CACHED, ANY)                                                               \
            }                                                                                                         \
        }                                                                                                             \
    }                                                                                                                 \
    static void NAME##_slopes(ptrdiff_t n, const double *z, const double *y, ptrdiff_t stride, double h,              \
                              double *out) {                                                                          \
        double per_step = 1.0 / (2.0 * h);                                                                            \
        if (h <= TINY_LIMIT) SLOPE_LOOP(NAME, CACHED, TINY)                                                           \
        else SLOPE_LOOP(NAME, CACHED, ANY)                                                                            \
    }
GF_ELEMENTWISE_OPERATIONS(DEFINE_TENSOR_LOOPS)

#define ELEMENTWISE_ENTRY(NAME, CACHED, KINKS, FIRST, SECOND)                                                         \
    {#NAME, CACHED, KINKS, {FIRST, SECOND}, NAME##_values, NAME##_differences, NAME##_column_differences,             \
     NAME##_change, NAME##_slopes},
static const gf_elementwise elementwise_table[] = {GF_ELEMENTWISE_OPERATIONS(ELEMENTWISE_ENTRY)};

/* y = f(z) */
static void elementwise_value(const gf_step *step, const gf_region *region, double *scratch) {
    const gf_tensor *z = input_of(step, 0), *y = output_of(step);
    UNUSED(scratch);
    for (ptrdiff_t i = region->first; i < region->last; i++)
        elementwise_table[step->operation].value(region->end - region->begin, at(z, z->value, i, region->begin),
                                                 at(y, y->value, i, region->begin), y->stride);
}

/* dy = f(z + dz) - f(z) */
static void elementwise_change(const gf_step *step, const gf_region *region, ptrdiff_t changes, double *scratch) {
    const gf_tensor *z = input_of(step, 0), *y = output_of(step);
    UNUSED(scratch);
    for (ptrdiff_t s = 0; s < changes; s++)
        for (ptrdiff_t i = region->first; i < region->last; i++)
            elementwise_table[step->operation].change(
                region->end - region->begin, at(z, z->value, i, region->begin), at(y, y->value, i, region->begin),
                y->stride, at(z, z->change[s], i, region->begin), at(y, y->change[s], i, region->begin));
}

/* back of z = or += slope times back of y */
static void elementwise_back(const gf_step *step, ptrdiff_t k, const gf_region *region, double h, int accumulate,
                             double *scratch) {
    const gf_tensor *z = input_of(step, k), *y = output_of(step);
    for (ptrdiff_t i = region->first; i < region->last; i++)
        for (ptrdiff_t j = region->begin; j < region->end; j += AT_ONCE) {
            ptrdiff_t n = region->end - j < AT_ONCE ? region->end - j : AT_ONCE;
            elementwise_table[step->operation].slopes(n, at(z, z->value, i, j), at(y, y->value, i, j), y->stride, h,
                                                      scratch);
            multiply_into(n, scratch, at(y, y->back, i, j), at(z, z->back, i, j), accumulate);
        }
}

#endif
