/* All kernels, compiled once per instruction set: GF_ISA names the set, GF_TABLE the table it exports. */
#include "comparison.h"
#include "directions.h"
#include "kinks.h"
#include "odd.h"
#include "steps/affine.h"
#include "steps/costs.h"
#include "steps/fused.h"
#include "steps/pairwise.h"
#include "steps/softmax.h"
#include "tensors/primitives.h"

#define COUNT(table) ((ptrdiff_t)(sizeof(table) / sizeof((table)[0])))

extern const gf_kernels GF_TABLE;

const gf_kernels GF_TABLE = {
    GF_ISA,
    COUNT(function_table),
    function_table,
    COUNT(elementwise_table),
    elementwise_table,
    COUNT(pairwise_table),
    pairwise_table,
    COUNT(cost_table),
    cost_table,
    COUNT(primitive_table),
    primitive_table,
    matmul,
    matmul_narrow,
    elementwise_narrow,
    sum_of_squares,
    select_rows,
    count_kinks,
    count_column_kinks,
    count_cost_kinks,
    softmax_value,
    softmax_difference,
    softmax_odd,
    odd_rows,
    odd_columns,
    odd_cost,
    odd_narrow,
    draw,
    add_scaled,
    compare,
    multiply_add,
};
