# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True
"""Computes what changes downstream of perturbations: the differences of a program's steps, for a block of pairs."""
from libc.string cimport memcpy, memmove, memset

from gradcheck_fast.engine._program cimport (
    AFFINE, COLUMN, COST, DENSE, ELEMENTWISE, INPUT, NOTHING, PAIR_WORK, PAIRWISE, SELECTED, SOFTMAX, UNIT, WHERE, ZERO,
    CompiledProgram, Pairs, ParameterBlock, Route, Step, Term)
from gradcheck_fast.engine._slots cimport difference_of, drop_zeros, expand, slot_of, state_of
from gradcheck_fast.engine._values cimport included
from gf_kernels cimport GF_PANEL, gf_cost, gf_cost_place, gf_difference, gf_elementwise, gf_pairwise

#: The kinds of steps that `propagate` knows.
KINDS: frozenset[int] = frozenset((INPUT, AFFINE, ELEMENTWISE, SOFTMAX, PAIRWISE, WHERE, COST))


cdef void propagate(CompiledProgram program, const Route *route, Pairs *pairs, const double *theta,
                    const double *targets, Py_ssize_t target_stride, double *scratch) noexcept nogil:
    """Runs a block of pairs through all steps downstream, and writes each pair's changes of the cost.

    A step whose inputs have no difference, and in which nothing is perturbed, is skipped. As long as only one column of
    one step has changed, pairs in which that change has become exactly zero (as in a rectifier that stays off) are
    dropped from the block: they do not change the cost.
    """
    cdef Py_ssize_t k, s, inject, first, second, changed, use = route.first_use
    cdef Py_ssize_t last_use = route.first_use + route.n_uses
    cdef const Step *step
    cdef const Term *reader
    cdef double *work = scratch            # this has PAIR_WORK doubles per pair, and the slots follow it
    cdef double *slots = scratch + PAIR_WORK * program.capacity
    cdef bint any_cost = False
    cdef void (*softmax)(Py_ssize_t, const double *, const double *, double *) noexcept nogil
    memset(pairs.change, 0, pairs.base.count * sizeof(double))
    memset(pairs.change + program.capacity, 0, pairs.base.count * sizeof(double))
    memset(pairs.state, 0, program.n_slots * sizeof(Py_ssize_t))
    if pairs.crossed != NULL:
        memset(pairs.crossed, 0, pairs.base.count * sizeof(Py_ssize_t))
    k = (program.uses[use].step if route.n_uses else program.steps.shape[0]) - 1
    while k + 1 < program.steps.shape[0]:
        k += 1
        step = &program.steps[k]
        inject = NOTHING
        if use < last_use and program.uses[use].step == k:
            inject = program.uses[use].term
            use += 1
        if not step.needed or step.kind == INPUT:
            continue
        if step.kind == AFFINE:
            changed = affine_difference(program, step, inject, pairs, theta, slots, work)
            if changed == ZERO:
                continue
        else:
            first = state_of(program, step.first, pairs)
            second = state_of(program, step.second, pairs) if step.second != NOTHING and step.kind != COST else ZERO
            if first == ZERO and second == ZERO:
                continue
            changed = DENSE if first > COLUMN or second > COLUMN or step.kind == SOFTMAX or (
                step.kind == COST and not program.kernels.costs[step.operation].separable) else COLUMN
            if step.kind == ELEMENTWISE:
                reader = NULL
                if changed == DENSE:
                    reader = narrow_reader(program, k, program.uses[use].step if use < last_use else NOTHING, pairs)
                if reader != NULL:
                    elementwise_and_narrow(program, step, reader, pairs, theta, slots, work)
                    pairs.state[program.steps[step.first].slot] = ZERO
                    k += 1
                    pairs.state[program.steps[k].slot] = DENSE
                    continue
                elementwise_difference(program, step, pairs, theta, slots, work)
            else:
                if changed == DENSE:
                    if first != ZERO:
                        expand(program, &program.steps[step.first], pairs, theta, slots, work)
                    if second != ZERO:
                        expand(program, &program.steps[step.second], pairs, theta, slots, work)
                if step.kind == SOFTMAX:
                    softmax = program.kernels.softmax_odd if program.rows == 1 else program.kernels.softmax_difference
                    for s in range(program.rows * pairs.base.count):
                        softmax(
                            step.width,
                            pairs.base.tape + pairs.sample[s // program.rows] * program.tape_stride + step.offset,
                            slot_of(program, &program.steps[step.first], slots) + s * program.steps[step.first].row,
                            slot_of(program, step, slots) + s * step.row)
                elif step.kind == COST:
                    cost_difference(program, step, pairs, targets, target_stride, slots)
                    any_cost = True
                else:
                    pairwise_difference(program, step, pairs, slots, changed == DENSE)
            if step.first_ends:
                pairs.state[program.steps[step.first].slot] = ZERO
            if step.second_ends:
                pairs.state[program.steps[step.second].slot] = ZERO
        if step.kind == COST:
            continue
        pairs.state[step.slot] = changed
        if changed == COLUMN and use == last_use and not any_cost:
            for s in range(program.n_slots):
                if pairs.state[s] != ZERO and s != step.slot:
                    break
            else:
                drop_zeros(program, pairs, slot_of(program, step, slots))


cdef Py_ssize_t affine_difference(CompiledProgram program, const Step *step, Py_ssize_t inject, Pairs *pairs,
                                  const double *theta, double *slots, double *work) noexcept nogil:
    """Adds up the changed inputs times their matrices and what is perturbed in this step, and returns the state."""
    cdef const Term *term
    cdef Py_ssize_t t, state, last = NOTHING, changes = inject != NOTHING, result = COLUMN
    cdef bint accumulate = False
    for t in range(step.first_term, step.first_term + step.n_terms):
        term = &program.terms[t]
        state = ZERO if term.step == NOTHING else state_of(program, term.step, pairs)
        if state == ZERO:
            continue
        changes += 1
        last = t
        if state == SELECTED:
            expand(program, &program.steps[term.step], pairs, theta, slots, work)
        if state > COLUMN or not term.diagonal:
            result = DENSE
    if changes == 0:
        return ZERO
    if changes == 1 and inject == NOTHING and not program.terms[last].diagonal and (
            state_of(program, program.terms[last].step, pairs) == COLUMN):
        memcpy(slot_of(program, step, slots), slot_of(program, &program.steps[program.terms[last].step], slots),
               program.rows * program.capacity * sizeof(double))
        pairs.term[step.slot] = last
        result = SELECTED
    else:
        for t in range(step.first_term, step.first_term + step.n_terms):
            term = &program.terms[t]
            if term.step == NOTHING or state_of(program, term.step, pairs) == ZERO:
                continue
            if term.diagonal:
                diagonal_difference(program, step, term, pairs, theta, slots, result == DENSE, accumulate)
            else:
                dense_product(program, step, term, pairs, theta, slots, accumulate)
            accumulate = True
        if inject != NOTHING:
            inject_perturbation(program, step, inject, pairs, slots, result == DENSE, accumulate)
    for t in range(step.first_term, step.first_term + step.n_terms):
        if program.terms[t].ends:
            pairs.state[program.steps[program.terms[t].step].slot] = ZERO
    return result


cdef void dense_product(CompiledProgram program, const Step *step, const Term *term, const Pairs *pairs,
                        const double *theta, double *slots, bint accumulate) noexcept nogil:
    """Computes out = d W, or out += d W if `accumulate`, where d is dense or a column."""
    cdef const ParameterBlock *block = &program.blocks[term.parameter]
    cdef const double *d = slot_of(program, &program.steps[term.step], slots)
    cdef double *out = slot_of(program, step, slots)
    cdef gf_difference selected
    cdef Py_ssize_t row = program.steps[term.step].row, panels = step.padded // GF_PANEL
    if state_of(program, term.step, pairs) == COLUMN:
        selected = gf_difference(theta + block.packed, 0, d, block.panel_stride, theta + block.squares)
        program.kernels.select_rows(&pairs.base, panels, &selected, out, step.row, accumulate)
        return
    if block.narrow != NOTHING:
        panels -= 1
        program.kernels.matmul_narrow(program.rows * pairs.base.count, block.rows, block.columns - panels * GF_PANEL, d,
                                      row, theta + block.narrow, block.narrow_row, out + panels * GF_PANEL, step.row,
                                      accumulate)
    program.kernels.matmul(program.rows * pairs.base.count, block.rows, panels, d, row, 1, theta + block.packed,
                           block.panel_stride, out, step.row, GF_PANEL, accumulate)


cdef void inject_perturbation(CompiledProgram program, const Step *step, Py_ssize_t inject, const Pairs *pairs,
                              double *slots, bint dense, bint accumulate) noexcept nogil:
    """Adds the perturbation to column j of each row.

    It is h for a unit or a bias, h (a_i + da_i) for an entry W[i, j], and h (a_j + da_j) for an entry w[j]; a is the
    step that the parameter multiplies. -h takes the place of h in the second row of each pair. The odd half of
    h (a + da) and -h (a - da) is h a.
    """
    cdef const Term *term = NULL
    cdef const double *d = NULL
    cdef double *out = slot_of(program, step, slots)
    cdef double h, factor
    cdef Py_ssize_t p, s, i = 0, state = ZERO
    if inject != UNIT and program.terms[inject].step != NOTHING:
        term = &program.terms[inject]
        state = state_of(program, term.step, pairs)
        d = slot_of(program, &program.steps[term.step], slots)
    for p in range(pairs.base.count):
        for s in range(program.rows):
            h = -pairs.h if s else pairs.h
            factor = 1.0
            if term != NULL:
                i = pairs.column[p] if term.diagonal else pairs.input[p]
                factor = pairs.base.tape[pairs.sample[p] * program.tape_stride + program.steps[term.step].offset + i]
                if program.rows == 1:
                    pass
                elif state == DENSE:
                    factor += d[(2 * p + s) * program.steps[term.step].row + i]
                elif state == COLUMN and i == pairs.column[p]:
                    factor += d[s * program.capacity + p]
            if dense:
                out[(program.rows * p + s) * step.row + pairs.column[p]] += h * factor
            else:
                out[s * program.capacity + p] = h * factor + (out[s * program.capacity + p] if accumulate else 0.0)


cdef void diagonal_difference(CompiledProgram program, const Step *step, const Term *term, const Pairs *pairs,
                              const double *theta, double *slots, bint dense, bint accumulate) noexcept nogil:
    """Computes out = d * w, or out += d * w if `accumulate`; a column stays in its column."""
    cdef const double *parameter = theta + program.blocks[term.parameter].packed
    cdef const double *d = slot_of(program, &program.steps[term.step], slots)
    cdef double *out = slot_of(program, step, slots)
    cdef double *row
    cdef Py_ssize_t p, s, c, j
    cdef bint column = state_of(program, term.step, pairs) == COLUMN
    for p in range(pairs.base.count):
        j = pairs.column[p]
        for s in range(program.rows):
            if not dense:
                row = out + s * program.capacity + p
                row[0] = d[s * program.capacity + p] * parameter[j] + (row[0] if accumulate else 0.0)
                continue
            row = out + (program.rows * p + s) * step.row
            if not accumulate:
                memset(row, 0, step.padded * sizeof(double))
            if column:
                row[j] += d[s * program.capacity + p] * parameter[j]
            else:
                for c in range(step.width):
                    row[c] += d[(program.rows * p + s) * program.steps[term.step].row + c] * parameter[c]


cdef void elementwise_difference(CompiledProgram program, const Step *step, const Pairs *pairs, const double *theta,
                                 double *slots, double *work) noexcept nogil:
    cdef const gf_elementwise *operation = &program.kernels.elementwise[step.operation]
    cdef const Step *before = &program.steps[step.first]
    cdef gf_difference d
    cdef bint count = pairs.crossed != NULL and operation.kinks > 0
    if pairs.state[before.slot] == COLUMN:
        if count:
            program.kernels.count_column_kinks(operation, &pairs.base, before.offset, slot_of(program, before, slots),
                                               pairs.crossed)
        if program.rows == 1:
            program.kernels.odd_columns(&pairs.base, step.slopes, slot_of(program, before, slots),
                                        slot_of(program, step, slots))
            return
        operation.column_difference(&pairs.base, before.offset, step.offset, step.padded,
                                    slot_of(program, before, slots), slot_of(program, step, slots))
        return
    d = difference_of(program, before, pairs, theta, slots, work)
    if count:
        program.kernels.count_kinks(operation, &pairs.base, step.width, before.offset, &d, pairs.crossed)
    if program.rows == 1:
        program.kernels.odd_rows(&pairs.base, 0, pairs.base.count, step.padded // GF_PANEL, step.slopes, &d,
                                 slot_of(program, step, slots), step.row)
        return
    operation.difference(&pairs.base, 0, pairs.base.count, step.padded // GF_PANEL, before.offset, step.offset,
                         step.padded, &d, slot_of(program, step, slots), step.row)


cdef const Term *narrow_reader(CompiledProgram program, Py_ssize_t number, Py_ssize_t inject_at,
                               const Pairs *pairs) noexcept nogil:
    """Returns the term by which the next step multiplies this one by a matrix of few columns, or NULL.

    It is NULL unless nothing else changes in the next step, and no other step reads this one.
    """
    cdef const Term *term
    cdef const Term *reader = NULL
    cdef const Step *step
    if number + 1 == program.steps.shape[0] or inject_at == number + 1:
        return NULL
    step = &program.steps[number + 1]
    if step.kind != AFFINE or not step.needed or not program.steps[number].first_ends:
        return NULL
    if step.slot == program.steps[program.steps[number].first].slot:  # it would be written over while it is read
        return NULL
    for t in range(step.first_term, step.first_term + step.n_terms):
        term = &program.terms[t]
        if term.step == number and term.ends and not term.diagonal and reader == NULL:
            reader = term
        elif term.step != NOTHING and (term.step == number or state_of(program, term.step, pairs) != ZERO):
            return NULL
    if reader == NULL or program.blocks[reader.parameter].narrow == NOTHING or step.padded > GF_PANEL:
        return NULL
    return reader


cdef void elementwise_and_narrow(CompiledProgram program, const Step *step, const Term *term, Pairs *pairs,
                                 const double *theta, double *slots, double *work) noexcept nogil:
    """Computes an elementwise step together with the next step, the narrow product that reads it."""
    cdef const Step *before = &program.steps[step.first]
    cdef const Step *after = step + 1
    cdef const ParameterBlock *block = &program.blocks[term.parameter]
    cdef const gf_elementwise *operation = &program.kernels.elementwise[step.operation]
    cdef gf_difference d = difference_of(program, before, pairs, theta, slots, work)
    if pairs.crossed != NULL and operation.kinks > 0:
        program.kernels.count_kinks(operation, &pairs.base, step.width, before.offset, &d, pairs.crossed)
    if program.rows == 1:
        program.kernels.odd_narrow(&pairs.base, step.padded, step.slopes, &d, slot_of(program, step, slots), step.row,
                                   block.columns, theta + block.narrow, block.narrow_row,
                                   slot_of(program, after, slots), after.row)
        return
    program.kernels.elementwise_narrow(
        operation, &pairs.base, step.padded, before.offset, step.offset,
        step.padded, &d, slot_of(program, step, slots), step.row, block.columns, theta + block.narrow, block.narrow_row,
        slot_of(program, after, slots), after.row)


cdef void pairwise_difference(CompiledProgram program, const Step *step, const Pairs *pairs, double *slots,
                              bint dense) noexcept nogil:
    """Computes the difference of an operation on two steps, or of the choice between them, which is df or dg.

    A column is treated as a row of width one that begins at that column.
    """
    cdef const Step *first = &program.steps[step.first]
    cdef const Step *second = &program.steps[step.second]
    cdef const double *sample
    cdef const double *base
    cdef const double *df
    cdef const double *dg
    cdef double *out
    cdef const gf_pairwise *operation
    cdef Py_ssize_t p, s, column, width = step.padded if dense else 1
    cdef bint first_changes = state_of(program, step.first, pairs) != ZERO
    cdef bint second_changes = state_of(program, step.second, pairs) != ZERO
    for p in range(pairs.base.count):
        sample = pairs.base.tape + pairs.sample[p] * program.tape_stride
        base = sample + (0 if dense else pairs.column[p])
        for s in range(program.rows):
            column = s * program.capacity + p
            df = slot_of(program, first, slots) + ((program.rows * p + s) * first.row if dense else column)
            dg = slot_of(program, second, slots) + ((program.rows * p + s) * second.row if dense else column)
            out = slot_of(program, step, slots) + ((program.rows * p + s) * step.row if dense else column)
            df = df if first_changes else NULL
            dg = dg if second_changes else NULL
            if step.kind == PAIRWISE:
                operation = &program.kernels.pairwise[step.operation]
                if program.rows == 1:
                    operation.odd(width, base + first.offset, base + second.offset, df, dg, out)
                else:
                    operation.difference(width, base + first.offset, base + second.offset, df, dg, out)
            elif step.kind == WHERE:
                if not included(program, step, sample):
                    df = dg
                if df == NULL:
                    memset(out, 0, width * sizeof(double))
                else:
                    memmove(out, df, width * sizeof(double))


cdef void cost_difference(CompiledProgram program, const Step *step, const Pairs *pairs, const double *targets,
                          Py_ssize_t target_stride, double *slots) noexcept nogil:
    cdef const gf_cost *cost = &program.kernels.costs[step.operation]
    cdef const Step *first = &program.steps[step.first]
    cdef Py_ssize_t mask = NOTHING if step.mask == NOTHING else program.steps[step.mask].offset
    cdef gf_cost_place place = gf_cost_place(
        step.width, first.offset, step.offset, step.padded, mask, targets + step.second, target_stride,
        step.constant, step.scale)
    cdef const double *d = slot_of(program, first, slots)
    cdef Py_ssize_t row = first.row if state_of(program, step.first, pairs) == DENSE else 0
    if program.rows == 1:
        program.kernels.odd_cost(&pairs.base, step.width, step.slopes, d, row, pairs.change)
        return
    if pairs.crossed != NULL and cost.kink:
        program.kernels.count_cost_kinks(&pairs.base, &place, d, row, pairs.crossed)
    cost.difference(&pairs.base, &place, d, row, pairs.change)
