# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True
"""What the steps of a program do: their values for samples, and their differences for blocks of rows.

Every kind of step has one branch in forward() and one in propagate(); the perturbation loops know no kinds.
"""
from libc.string cimport memcpy, memset

import numpy as np

cpdef enum Kind:
    INPUT = 0
    AFFINE = 1
    ELEMENTWISE = 2
    SOFTMAX = 3
    PRODUCT = 4
    ADD = 5
    CHOOSE = 6
    COST = 7

PANEL = GF_PANEL
ROW_WORK = WORK_ROWS


def instruction_sets():
    """The instruction sets that the kernels were built for and that this CPU has, best first."""
    cdef Py_ssize_t k = 0
    found = []
    while gf_instruction_sets[k] != NULL:
        if gf_kernels_for(gf_instruction_sets[k]) != NULL:
            found.append(gf_instruction_sets[k].decode())
        k += 1
    return tuple(found)


def operations():
    """``{name: (index, cached)}`` of the elementwise operations that the kernels have."""
    cdef const gf_kernels *kernels = gf_kernels_for(b"baseline")
    return {kernels.elementwise[k].name.decode(): (k, kernels.elementwise[k].cached)
            for k in range(kernels.n_elementwise)}


def costs():
    """``{name: (index, separable, cached)}`` of the costs that the kernels have."""
    cdef const gf_kernels *kernels = gf_kernels_for(b"baseline")
    return {kernels.costs[k].name.decode(): (k, kernels.costs[k].separable, kernels.costs[k].cached)
            for k in range(kernels.n_costs)}


def elementwise(str name, const double[::1] z, const double[::1] d, str isa):
    """``f(z)`` and the exact difference ``f(z + d) - f(z)`` of one operation, for tests and the curious."""
    cdef const gf_kernels *kernels = gf_kernels_for(isa.encode())
    if kernels == NULL:
        raise ValueError(f"instruction set {isa!r} is not available here: {', '.join(instruction_sets())} are")
    cdef const gf_elementwise *operation = &kernels.elementwise[<Py_ssize_t>operations()[name][0]]
    cdef Py_ssize_t n = z.shape[0]
    if d.shape[0] != n:
        raise ValueError(f"z has {n} entries and d has {d.shape[0]}; expected as many")
    value = np.empty((1 + operation.cached, n))
    difference = np.empty(n)
    cdef double[:, ::1] y = value
    cdef double[::1] out = difference
    if n > 0:
        operation.value(n, &z[0], &y[0, 0], n)
        operation.difference(n, &z[0], &y[0, 0], n, &d[0], &out[0])
    return value[0], difference


cdef class CompiledProgram:
    """A program's tables, as C reads them.

    Parameters
    ----------
    steps, terms, routes, uses : structured ndarray
        As `gradcheck_fast.program` and `gradcheck_fast.routes` lay them out.
    tape_stride : int
        Doubles that one sample takes on the tape.
    n_slots : int
        Slots for differences.
    capacity : int
        Rows of a block.
    isa : str
        Which build of the kernels to use; one of `instruction_sets()`.
    """

    def __init__(self, const Step[::1] steps, const Term[::1] terms, const Route[::1] routes, const Use[::1] uses,
                 Py_ssize_t tape_stride, Py_ssize_t n_slots, Py_ssize_t capacity, str isa):
        self.kernels = gf_kernels_for(isa.encode())
        if self.kernels == NULL:
            raise ValueError(f"instruction set {isa!r} is not available here: {', '.join(instruction_sets())} are")
        self.steps = steps
        self.terms = terms
        self.routes = routes
        self.uses = uses
        self.tape_stride = tape_stride
        self.n_slots = n_slots
        self.capacity = capacity

    # ---- values

    cdef double forward(self, const double *theta, const double *inputs, Py_ssize_t input_stride,
                        const double *targets, Py_ssize_t target_stride, Py_ssize_t samples,
                        double *tape) noexcept nogil:
        """Fills the tape of some samples and returns their cost."""
        cdef Py_ssize_t k, n, c, stride = self.tape_stride
        cdef const Step *step
        cdef const Step *steps = &self.steps[0]
        cdef const double *first
        cdef const double *second
        cdef const gf_cost *cost
        cdef double *out
        cdef double total = 0.0
        for k in range(self.steps.shape[0]):
            step = &steps[k]
            if step.kind == AFFINE:
                self.affine_values(step, theta, samples, tape)
                continue
            for n in range(samples):
                out = tape + n * stride + step.offset
                if step.kind == INPUT:
                    memcpy(out, inputs + n * input_stride + step.first, step.width * sizeof(double))
                    continue
                first = tape + n * stride + steps[step.first].offset
                if step.kind == ELEMENTWISE:
                    self.kernels.elementwise[step.operation].value(step.padded, first, out, step.padded)
                elif step.kind == SOFTMAX:
                    self.kernels.softmax_value(step.width, first, out)
                elif step.kind == PRODUCT:
                    second = tape + n * stride + steps[step.second].offset
                    for c in range(step.width):
                        out[c] = first[c] * second[c]
                elif step.kind == ADD:
                    second = tape + n * stride + steps[step.second].offset
                    for c in range(step.width):
                        out[c] = first[c] + step.constant * second[c]
                elif step.kind == CHOOSE:
                    second = tape + n * stride + steps[step.second].offset
                    memcpy(out, first if self.included(step, tape + n * stride) else second,
                           step.width * sizeof(double))
                elif step.kind == COST:
                    cost = &self.kernels.costs[step.operation]
                    if self.included(step, tape + n * stride):
                        total += step.scale * cost.value(
                            step.width, first, targets + n * target_stride + step.second, step.constant, out)
        return total

    cdef bint included(self, const Step *step, const double *sample) noexcept nogil:
        """Whether the step's mask lets this sample (its row of the tape) in."""
        return step.mask == NOTHING or sample[self.steps[step.mask].offset] != 0.0

    cdef void affine_values(self, const Step *step, const double *theta, Py_ssize_t samples,
                            double *tape) noexcept nogil:
        """out = constant + sum over the terms: b, a W, a * w; without terms it stays the zeros of a new tape."""
        cdef Py_ssize_t t, n, c, stride = self.tape_stride
        cdef const Term *term
        cdef const double *parameter
        cdef const double *a
        cdef double *out
        cdef bint accumulate = False
        for t in range(step.first_term, step.first_term + step.n_terms):
            term = &self.terms[t]
            if term.step == NOTHING or term.diagonal:
                parameter = theta + term.parameter
                for n in range(samples):
                    out = tape + n * stride + step.offset
                    if not accumulate:
                        memset(out, 0, step.padded * sizeof(double))
                    if term.diagonal:
                        a = tape + n * stride + self.steps[term.step].offset
                        for c in range(step.width):
                            out[c] += a[c] * parameter[c]
                    else:
                        for c in range(step.width):
                            out[c] += parameter[c]
            else:
                self.kernels.matmul(samples, term.rows, step.padded // GF_PANEL,
                                    tape + self.steps[term.step].offset, stride, 1,
                                    theta + term.parameter, term.panel_stride,
                                    tape + step.offset, stride, GF_PANEL, accumulate)
            accumulate = True
        if step.constant != 0.0:
            for n in range(samples):
                out = tape + n * stride + step.offset
                for c in range(step.width):
                    out[c] += step.constant

    # ---- differences

    cdef void propagate(self, const Route *route, Rows *rows, const double *theta, const double *tape,
                        const double *targets, Py_ssize_t target_stride, double *scratch) noexcept nogil:
        """Runs a block of rows through everything downstream and leaves each row's change of the cost.

        A step whose inputs have no difference, and in which nothing is perturbed, is passed over. While all that has
        changed is one column of one step, rows in which that has become exactly zero (a rectifier that stays off) are
        dropped from the block: their change is zero.
        """
        cdef Py_ssize_t k, r, inject, first, second, changed, use = route.first_use
        cdef Py_ssize_t last_use = route.first_use + route.n_uses
        cdef const Step *step
        cdef double *work = scratch            # WORK_ROWS doubles per row; the slots follow
        cdef double *slots = scratch + WORK_ROWS * self.capacity
        cdef double *out
        cdef bint dense, any_cost = False
        memset(rows.change, 0, rows.count * sizeof(double))
        memset(rows.state, 0, self.n_slots * sizeof(Py_ssize_t))
        for k in range(self.uses[use].step if route.n_uses else self.steps.shape[0], self.steps.shape[0]):
            step = &self.steps[k]
            inject = NOTHING
            if use < last_use and self.uses[use].step == k:
                inject = self.uses[use].term
                use += 1
            if not step.needed or step.kind == INPUT:
                continue
            if step.kind == AFFINE:
                changed = self.affine_difference(step, inject, rows, theta, tape, slots)
                if changed == ZERO:
                    continue
            else:
                first = self.state_of(step.first, rows)
                second = self.state_of(step.second, rows) if step.second != NOTHING and step.kind != COST else ZERO
                if first == ZERO and second == ZERO:
                    continue
                dense = first == DENSE or second == DENSE or step.kind == SOFTMAX or (
                    step.kind == COST and not self.kernels.costs[step.operation].separable)
                if dense and first == COLUMN:
                    self.expand(step.first, rows, slots)
                if dense and second == COLUMN:
                    self.expand(step.second, rows, slots)
                changed = DENSE if dense else COLUMN
                if step.kind == ELEMENTWISE:
                    self.elementwise_difference(step, rows, tape, slots, dense, work)
                elif step.kind == SOFTMAX:
                    for r in range(rows.count):
                        self.kernels.softmax_difference(
                            step.width, tape + rows.sample[r] * self.tape_stride + step.offset,
                            self.difference_of(step.first, slots) + r * step.padded,
                            slots + step.slot_offset * self.capacity + r * step.padded)
                elif step.kind == COST:
                    self.cost_difference(step, rows, tape, targets, target_stride, slots)
                    any_cost = True
                else:
                    self.pairwise_difference(step, rows, tape, slots, dense)
                if step.first_ends:
                    rows.state[self.steps[step.first].slot] = ZERO
                if step.second_ends:
                    rows.state[self.steps[step.second].slot] = ZERO
            if step.kind == COST:
                continue
            rows.state[step.slot] = changed
            if changed == COLUMN and use == last_use and not any_cost:
                for r in range(self.n_slots):
                    if rows.state[r] != ZERO and r != step.slot:
                        break
                else:
                    out = slots + step.slot_offset * self.capacity
                    drop_zeros(rows, out)

    cdef Py_ssize_t state_of(self, Py_ssize_t step, const Rows *rows) noexcept nogil:
        """ZERO, COLUMN or DENSE: the difference of an earlier step; inputs never have one."""
        return ZERO if self.steps[step].kind == INPUT else rows.state[self.steps[step].slot]

    cdef double *difference_of(self, Py_ssize_t step, double *slots) noexcept nogil:
        return slots + self.steps[step].slot_offset * self.capacity

    cdef void expand(self, Py_ssize_t step, Rows *rows, double *slots) noexcept nogil:
        """A column becomes dense: zero elsewhere. From the last row on, so that it can be done in place."""
        cdef Py_ssize_t r, width = self.steps[step].padded
        cdef double *d = self.difference_of(step, slots)
        cdef double value
        if rows.state[self.steps[step].slot] != COLUMN:
            return
        for r in range(rows.count - 1, -1, -1):
            value = d[r]
            memset(d + r * width, 0, width * sizeof(double))
            d[r * width + rows.column[r]] = value
        rows.state[self.steps[step].slot] = DENSE

    cdef Py_ssize_t affine_difference(self, const Step *step, Py_ssize_t inject, const Rows *rows,
                                      const double *theta, const double *tape, double *slots) noexcept nogil:
        """The changed inputs times their matrices; then what is perturbed in this step itself. Returns the state."""
        cdef const Term *term
        cdef double *out = slots + step.slot_offset * self.capacity
        cdef Py_ssize_t t, state, panels = step.padded // GF_PANEL
        cdef bint accumulate = False, dense = False, changed = inject != NOTHING
        for t in range(step.first_term, step.first_term + step.n_terms):
            term = &self.terms[t]
            state = ZERO if term.step == NOTHING else self.state_of(term.step, rows)
            changed = changed or state != ZERO
            dense = dense or state == DENSE or (state == COLUMN and not term.diagonal)
        if not changed:
            return ZERO
        for t in range(step.first_term, step.first_term + step.n_terms):
            term = &self.terms[t]
            state = ZERO if term.step == NOTHING else self.state_of(term.step, rows)
            if state == ZERO:
                continue
            if term.diagonal:
                self.diagonal_difference(step, term, rows, theta, slots, dense, accumulate)
            elif state == DENSE:
                self.kernels.matmul(rows.count, term.rows, panels, self.difference_of(term.step, slots),
                                    self.steps[term.step].padded, 1, theta + term.parameter, term.panel_stride,
                                    out, step.padded, GF_PANEL, accumulate)
            else:
                self.kernels.select_rows(rows.count, panels, self.difference_of(term.step, slots), rows.column,
                                         theta + term.parameter, term.panel_stride, out, step.padded, accumulate)
            accumulate = True
        if inject != NOTHING:
            self.inject_perturbation(step, inject, rows, tape, slots, dense, accumulate)
        for t in range(step.first_term, step.first_term + step.n_terms):
            if self.terms[t].ends:
                rows.state[self.steps[self.terms[t].step].slot] = ZERO
        return DENSE if dense else COLUMN

    cdef void inject_perturbation(self, const Step *step, Py_ssize_t inject, const Rows *rows, const double *tape,
                                  double *slots, bint dense, bint accumulate) noexcept nogil:
        """Into each row's column j: unit and bias: h; W[i, j]: h (a_i + da_i); w[j]: h (a_j + da_j)."""
        cdef const Term *term
        cdef const double *d
        cdef double *out = slots + step.slot_offset * self.capacity
        cdef double factor = 1.0
        cdef Py_ssize_t r, i, state
        for r in range(rows.count):
            if inject != UNIT and self.terms[inject].step != NOTHING:
                term = &self.terms[inject]
                i = rows.column[r] if term.diagonal else rows.input[r]
                factor = tape[rows.sample[r] * self.tape_stride + self.steps[term.step].offset + i]
                state = self.state_of(term.step, rows)
                d = self.difference_of(term.step, slots)
                if state == DENSE:
                    factor += d[r * self.steps[term.step].padded + i]
                elif state == COLUMN and i == rows.column[r]:
                    factor += d[r]
            if dense:
                out[r * step.padded + rows.column[r]] += rows.h[r] * factor
            else:
                out[r] = rows.h[r] * factor + (out[r] if accumulate else 0.0)

    cdef void diagonal_difference(self, const Step *step, const Term *term, const Rows *rows, const double *theta,
                                  double *slots, bint dense, bint accumulate) noexcept nogil:
        """out += d * w; a column stays in its column."""
        cdef const double *parameter = theta + term.parameter
        cdef const double *d = self.difference_of(term.step, slots)
        cdef double *row
        cdef Py_ssize_t r, c, j, width = step.padded if dense else 1
        cdef bint column = self.state_of(term.step, rows) == COLUMN
        for r in range(rows.count):
            row = slots + step.slot_offset * self.capacity + r * width
            j = rows.column[r]
            if not accumulate:
                memset(row, 0, width * sizeof(double))
            if column:
                row[j if dense else 0] += d[r] * parameter[j]
            else:
                for c in range(step.width):
                    row[c] += d[r * step.padded + c] * parameter[c]

    cdef void elementwise_difference(self, const Step *step, const Rows *rows, const double *tape, double *slots,
                                     bint dense, double *work) noexcept nogil:
        cdef const gf_elementwise *operation = &self.kernels.elementwise[step.operation]
        cdef const double *d = self.difference_of(step.first, slots)
        cdef const double *base
        cdef double *out = slots + step.slot_offset * self.capacity
        cdef Py_ssize_t r, k, before = self.steps[step.first].offset
        if not dense:  # gather the base values of each row's column, then one call for all rows
            for r in range(rows.count):
                base = tape + rows.sample[r] * self.tape_stride + rows.column[r]
                work[r] = base[before]
                for k in range(1 + operation.cached):
                    work[(1 + k) * self.capacity + r] = base[step.offset + k * step.padded]
            operation.difference(rows.count, work, work + self.capacity, self.capacity, d, out)
            return
        for r in range(rows.count):
            base = tape + rows.sample[r] * self.tape_stride
            operation.difference(step.padded, base + before, base + step.offset, step.padded,
                                 d + r * step.padded, out + r * step.padded)

    cdef void pairwise_difference(self, const Step *step, const Rows *rows, const double *tape, double *slots,
                                  bint dense) noexcept nogil:
        """add: df + constant dg; product: df g + f dg + df dg; choose: df or dg.

        A column is a row of width one that begins at its column.
        """
        cdef const double *sample
        cdef const double *base
        cdef const double *df
        cdef const double *dg
        cdef double *out
        cdef double change
        cdef Py_ssize_t r, c, width = step.padded if dense else 1
        cdef Py_ssize_t first = self.steps[step.first].offset, second = self.steps[step.second].offset
        cdef bint first_changes = self.state_of(step.first, rows) != ZERO
        cdef bint second_changes = self.state_of(step.second, rows) != ZERO
        for r in range(rows.count):
            sample = tape + rows.sample[r] * self.tape_stride
            base = sample + (0 if dense else rows.column[r])
            out = slots + step.slot_offset * self.capacity + r * width
            df = self.difference_of(step.first, slots) + r * width if first_changes else NULL
            dg = self.difference_of(step.second, slots) + r * width if second_changes else NULL
            if step.kind == CHOOSE and self.included(step, sample):
                dg = NULL
            elif step.kind == CHOOSE:
                df = NULL
            for c in range(step.width if dense else 1):
                change = 0.0
                if step.kind != PRODUCT:
                    if df != NULL:
                        change += df[c]
                    if dg != NULL:
                        change += dg[c] if step.kind == CHOOSE else step.constant * dg[c]
                else:
                    if df != NULL:
                        change += df[c] * base[second + c]
                    if dg != NULL:
                        change += (base[first + c] + (df[c] if df != NULL else 0.0)) * dg[c]
                out[c] = change

    cdef void cost_difference(self, const Step *step, Rows *rows, const double *tape, const double *targets,
                              Py_ssize_t target_stride, double *slots) noexcept nogil:
        """A column reaches only a separable cost: then the cost is that of a sample of width one."""
        cdef const gf_cost *cost = &self.kernels.costs[step.operation]
        cdef const double *d = self.difference_of(step.first, slots)
        cdef const double *base
        cdef bint dense = self.state_of(step.first, rows) == DENSE
        cdef Py_ssize_t r, shift = 0, width = step.padded if dense else 1
        for r in range(rows.count):
            base = tape + rows.sample[r] * self.tape_stride
            if not self.included(step, base):
                continue
            if not dense:
                shift = rows.column[r]
            rows.change[r] += step.scale * cost.difference(
                step.width if dense else 1, base + self.steps[step.first].offset + shift,
                targets + rows.sample[r] * target_stride + step.second + shift, step.constant,
                base + step.offset, d + r * width)


cdef void drop_zeros(Rows *rows, double *d) noexcept nogil:
    """Keeps the rows whose one value d is not zero (NaN is kept)."""
    cdef Py_ssize_t r, kept = 0
    for r in range(rows.count):
        if d[r] == 0.0:
            continue
        d[kept] = d[r]
        rows.sample[kept] = rows.sample[r]
        rows.input[kept] = rows.input[r]
        rows.column[kept] = rows.column[r]
        rows.source[kept] = rows.source[r]
        rows.h[kept] = rows.h[r]
        kept += 1
    rows.count = kept
