/* What the rules of all primitives share: how they find their tensors. */
#ifndef GF_TENSORS_H
#define GF_TENSORS_H

#include "elementary.h"
#include "kernels.h"

/* Entries of a row that are worked on at once, in scratch memory. */
#define AT_ONCE 1024

static ALWAYS_INLINE const gf_tensor *input_of(const gf_step *step, ptrdiff_t k) {
    return &step->tensors[step->inputs[k]];
}
static ALWAYS_INLINE const gf_tensor *output_of(const gf_step *step) { return &step->tensors[step->output]; }

/* The place of entry (i, j) in an array that belongs to a tensor. */
static ALWAYS_INLINE double *at(const gf_tensor *tensor, double *array, ptrdiff_t i, ptrdiff_t j) {
    return array + i * tensor->row + j;
}

static ALWAYS_INLINE int changes(const gf_tensor *tensor) { return tensor->change[0] != NULL; }

/* out = or += a b, entry by entry */
static void multiply_into(ptrdiff_t n, const double *a, const double *b, double *out, int accumulate) {
    if (accumulate)
        IGNORE_ALIASING for (ptrdiff_t i = 0; i < n; i++) out[i] += a[i] * b[i];
    else
        IGNORE_ALIASING for (ptrdiff_t i = 0; i < n; i++) out[i] = a[i] * b[i];
}

/* out = or += scale a */
static void scale_into(ptrdiff_t n, double scale, const double *a, double *out, int accumulate) {
    if (accumulate)
        IGNORE_ALIASING for (ptrdiff_t i = 0; i < n; i++) out[i] += scale * a[i];
    else
        IGNORE_ALIASING for (ptrdiff_t i = 0; i < n; i++) out[i] = scale * a[i];
}

#endif
