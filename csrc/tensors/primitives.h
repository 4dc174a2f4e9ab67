/* The primitives over tensors, each with its rules; the engine finds them here by name. */
#ifndef GF_TENSORS_PRIMITIVES_H
#define GF_TENSORS_PRIMITIVES_H

#include "tensors/affine.h"
#include "tensors/arithmetic.h"
#include "tensors/elementwise.h"
#include "tensors/reductions.h"

static const gf_primitive primitive_table[] = {
    {"affine", 0, affine_value, affine_change, affine_back},
    {"elementwise", 0, elementwise_value, elementwise_change, elementwise_back},
    {"pairwise", 0, pairwise_value, pairwise_change, pairwise_back},
    {"where", 0, where_value, where_change, where_back},
    {"softmax", 1, softmax_rows, softmax_change, softmax_back},
    {"cost", 1, cost_rows, cost_change, cost_back},
};

#endif
