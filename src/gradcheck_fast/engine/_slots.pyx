# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True
"""Finds the differences of steps in their slots, and changes the form in which a slot holds one."""
from libc.string cimport memcpy, memset

from gradcheck_fast.engine._program cimport (
    COLUMN, DENSE, INPUT, SELECTED, ZERO, CompiledProgram, Pairs, ParameterBlock, Step)
from gf_kernels cimport GF_PANEL, gf_difference


cdef Py_ssize_t state_of(CompiledProgram program, Py_ssize_t step, const Pairs *pairs) noexcept nogil:
    """Returns the state of an earlier step's slot; inputs never have a difference."""
    return ZERO if program.steps[step].kind == INPUT else pairs.state[program.steps[step].slot]


cdef double *slot_of(CompiledProgram program, const Step *step, double *slots) noexcept nogil:
    return slots + program.rows * step.slot_offset * program.capacity


cdef gf_difference difference_of(CompiledProgram program, const Step *step, const Pairs *pairs, const double *theta,
                                 double *slots, double *work) noexcept nogil:
    """Returns a difference that is DENSE or SELECTED, as kernels read it.

    If it is SELECTED, the factors of the rows are copied to `work`, so that the slot may be written over.
    """
    cdef const ParameterBlock *block
    cdef double *d = slot_of(program, step, slots)
    if pairs.state[step.slot] == DENSE:
        return gf_difference(d, step.row, NULL, 0, NULL)
    block = &program.blocks[program.terms[pairs.term[step.slot]].parameter]
    memcpy(work, d, program.rows * program.capacity * sizeof(double))
    return gf_difference(theta + block.packed, 0, work, block.panel_stride, theta + block.squares)


cdef void expand(CompiledProgram program, const Step *step, Pairs *pairs, const double *theta, double *slots,
                 double *work) noexcept nogil:
    """Makes a difference dense that is a column, or a multiple of a matrix's row."""
    cdef double *d = slot_of(program, step, slots)
    cdef double *row
    cdef gf_difference selected
    cdef Py_ssize_t p, s, state = pairs.state[step.slot]
    if state == SELECTED:
        selected = difference_of(program, step, pairs, theta, slots, work)
        program.kernels.select_rows(&pairs.base, step.padded // GF_PANEL, &selected, d, step.row, False)
        pairs.state[step.slot] = DENSE
    elif state == COLUMN:
        memcpy(work, d, program.rows * program.capacity * sizeof(double))
        for p in range(pairs.base.count):
            for s in range(program.rows):
                row = d + (program.rows * p + s) * step.row
                memset(row, 0, step.padded * sizeof(double))
                row[pairs.column[p]] = work[s * program.capacity + p]
        pairs.state[step.slot] = DENSE


cdef void drop_zeros(CompiledProgram program, Pairs *pairs, double *d) noexcept nogil:
    """Drops the pairs of which both values d are zero (and keeps NaN)."""
    cdef Py_ssize_t p, kept = 0, capacity = pairs.base.capacity
    for p in range(pairs.base.count):
        if d[p] == 0.0 and (program.rows == 1 or d[capacity + p] == 0.0):
            continue
        d[kept] = d[p]
        if program.rows == 2:
            d[capacity + kept] = d[capacity + p]
        pairs.sample[kept] = pairs.sample[p]
        pairs.input[kept] = pairs.input[p]
        pairs.column[kept] = pairs.column[p]
        pairs.source[kept] = pairs.source[p]
        if pairs.crossed != NULL:
            pairs.crossed[kept] = pairs.crossed[p]
        kept += 1
    pairs.base.count = kept
