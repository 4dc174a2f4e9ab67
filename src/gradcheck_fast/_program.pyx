# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True
"""What the steps of a program do: their values for samples, and their differences for blocks of rows.

Every kind of step has one branch in forward() and one in propagate(); nothing else knows the kinds.
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
    steps, terms, routes, instructions, links : structured ndarray
        As `gradcheck_fast.program` lays them out.
    tape_stride : int
        Doubles that one sample takes on the tape.
    isa : str
        Which build of the kernels to use; one of `instruction_sets()`.
    """

    def __init__(self, const Step[::1] steps, const Term[::1] terms, const Route[::1] routes,
                 const Instruction[::1] instructions, const Link[::1] links, Py_ssize_t tape_stride, str isa):
        self.kernels = gf_kernels_for(isa.encode())
        if self.kernels == NULL:
            raise ValueError(f"instruction set {isa!r} is not available here: {', '.join(instruction_sets())} are")
        self.steps = steps
        self.terms = terms
        self.routes = routes
        self.instructions = instructions
        self.links = links
        self.tape_stride = tape_stride

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

        Where an instruction says so, rows whose difference has become exactly zero (a rectifier that stays off) are
        dropped from the block: their change is zero.
        """
        cdef Py_ssize_t k, r, capacity = route.capacity
        cdef const Instruction *instruction
        cdef const Step *step
        cdef const Link *link
        cdef double *work = scratch            # WORK_ROWS doubles per row; the slots follow
        cdef double *slots = scratch + WORK_ROWS * capacity
        cdef double *out
        memset(rows.change, 0, rows.count * sizeof(double))
        for k in range(route.first_instruction, route.first_instruction + route.n_instructions):
            instruction = &self.instructions[k]
            link = &self.links[instruction.first_link] if instruction.n_links else NULL
            out = slots + instruction.slot * capacity
            if instruction.step == NOTHING:
                expand(rows, slots + link.slot * capacity, out, instruction.width)
                continue
            step = &self.steps[instruction.step]
            if step.kind == AFFINE:
                self.affine_difference(instruction, rows, theta, tape, slots, capacity)
            elif step.kind == ELEMENTWISE:
                self.elementwise_difference(step, instruction, rows, tape, slots, capacity, work)
            elif step.kind == SOFTMAX:
                for r in range(rows.count):
                    self.kernels.softmax_difference(
                        step.width, tape + rows.sample[r] * self.tape_stride + step.offset,
                        slots + link.slot * capacity + r * link.width, out + r * instruction.width)
            elif step.kind == PRODUCT or step.kind == ADD or step.kind == CHOOSE:
                self.pairwise_difference(step, instruction, rows, tape, slots, capacity)
            elif step.kind == COST:
                self.cost_difference(step, instruction, rows, tape, targets, target_stride, slots, capacity)
            if instruction.compact:
                drop_zeros(rows, out)

    cdef void affine_difference(self, const Instruction *instruction, const Rows *rows, const double *theta,
                                const double *tape, double *scratch, Py_ssize_t capacity) noexcept nogil:
        """The changed inputs times their matrices; then what is perturbed in this step itself."""
        cdef const Step *step = &self.steps[instruction.step]
        cdef const Link *link
        cdef const Term *term
        cdef const double *d
        cdef double *out = scratch + instruction.slot * capacity
        cdef double factor
        cdef Py_ssize_t i, k, r, panels = step.padded // GF_PANEL
        cdef bint accumulate = False
        for k in range(instruction.first_link, instruction.first_link + instruction.n_links):
            link = &self.links[k]
            term = &self.terms[link.which]
            d = scratch + link.slot * capacity
            if term.diagonal:
                self.diagonal_difference(step, instruction, rows, link, theta + term.parameter, d, out, accumulate)
            elif link.dense:
                self.kernels.matmul(rows.count, term.rows, panels, d, link.width, 1, theta + term.parameter,
                                    term.panel_stride, out, step.padded, GF_PANEL, accumulate)
            else:
                self.kernels.select_rows(rows.count, panels, d, rows.column, theta + term.parameter,
                                         term.panel_stride, out, step.padded, accumulate)
            accumulate = True
        if instruction.inject == NOTHING:
            return
        for r in range(rows.count):
            # unit and bias: h; W[i, j]: h (a_i + da_i); w[j]: h (a_j + da_j)
            factor = 1.0
            if instruction.inject != UNIT and self.terms[instruction.inject].step != NOTHING:
                term = &self.terms[instruction.inject]
                i = rows.column[r] if term.diagonal else rows.input[r]
                factor = tape[rows.sample[r] * self.tape_stride + self.steps[term.step].offset + i]
                if instruction.inject_link != NOTHING:
                    link = &self.links[instruction.inject_link]
                    d = scratch + link.slot * capacity + r * link.width
                    if link.dense:
                        factor += d[i]
                    elif i == rows.column[r]:
                        factor += d[0]
            if instruction.dense:
                out[r * instruction.width + rows.column[r]] += rows.h[r] * factor
            else:
                out[r] = rows.h[r] * factor + (out[r] if accumulate else 0.0)

    cdef void diagonal_difference(self, const Step *step, const Instruction *instruction, const Rows *rows,
                                  const Link *link, const double *parameter, const double *d, double *out,
                                  bint accumulate) noexcept nogil:
        """out += d * w; a column stays in its column."""
        cdef Py_ssize_t r, c
        cdef double *row
        for r in range(rows.count):
            row = out + r * instruction.width
            if not accumulate:
                memset(row, 0, instruction.width * sizeof(double))
            if link.dense:
                for c in range(step.width):
                    row[c] += d[r * link.width + c] * parameter[c]
            else:
                row[rows.column[r] if instruction.dense else 0] += d[r * link.width] * parameter[rows.column[r]]

    cdef void elementwise_difference(self, const Step *step, const Instruction *instruction, const Rows *rows,
                                     const double *tape, double *scratch, Py_ssize_t capacity,
                                     double *work) noexcept nogil:
        cdef const gf_elementwise *operation = &self.kernels.elementwise[step.operation]
        cdef const Link *link = &self.links[instruction.first_link]
        cdef const double *d = scratch + link.slot * capacity
        cdef const double *base
        cdef double *out = scratch + instruction.slot * capacity
        cdef Py_ssize_t r, k, before = self.steps[step.first].offset
        if not instruction.dense:  # gather the base values of each row's column, then one call for all rows
            for r in range(rows.count):
                base = tape + rows.sample[r] * self.tape_stride + rows.column[r]
                work[r] = base[before]
                for k in range(1 + operation.cached):
                    work[(1 + k) * capacity + r] = base[step.offset + k * step.padded]
            operation.difference(rows.count, work, work + capacity, capacity, d, out)
            return
        for r in range(rows.count):
            base = tape + rows.sample[r] * self.tape_stride
            operation.difference(step.padded, base + before, base + step.offset, step.padded,
                                 d + r * link.width, out + r * instruction.width)

    cdef void pairwise_difference(self, const Step *step, const Instruction *instruction, const Rows *rows,
                                  const double *tape, double *scratch, Py_ssize_t capacity) noexcept nogil:
        """add: df + constant dg; product: df g + f dg + df dg; choose: df or dg.

        A column is a row of width one that begins at its column.
        """
        cdef const Link *link = &self.links[instruction.first_link]
        cdef const double *sample
        cdef const double *base
        cdef const double *df
        cdef const double *dg
        cdef double *out
        cdef double change
        cdef Py_ssize_t r, c, k
        cdef Py_ssize_t first = self.steps[step.first].offset, second = self.steps[step.second].offset
        for r in range(rows.count):
            sample = tape + rows.sample[r] * self.tape_stride
            base = sample + (0 if instruction.dense else rows.column[r])
            out = scratch + instruction.slot * capacity + r * instruction.width
            df = NULL
            dg = NULL
            for k in range(instruction.n_links):
                if link[k].which == 0:
                    df = scratch + link[k].slot * capacity + r * link[k].width
                else:
                    dg = scratch + link[k].slot * capacity + r * link[k].width
            if step.kind == CHOOSE and self.included(step, sample):
                dg = NULL
            elif step.kind == CHOOSE:
                df = NULL
            for c in range(step.width if instruction.dense else 1):
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

    cdef void cost_difference(self, const Step *step, const Instruction *instruction, Rows *rows,
                              const double *tape, const double *targets, Py_ssize_t target_stride,
                              double *scratch, Py_ssize_t capacity) noexcept nogil:
        """A column reaches only a separable cost: then the cost is that of a sample of width one."""
        cdef const gf_cost *cost = &self.kernels.costs[step.operation]
        cdef const Link *link = &self.links[instruction.first_link]
        cdef const double *base
        cdef Py_ssize_t r, shift = 0, width = step.width if link.dense else 1
        for r in range(rows.count):
            base = tape + rows.sample[r] * self.tape_stride
            if not self.included(step, base):
                continue
            if not link.dense:
                shift = rows.column[r]
            rows.change[r] += step.scale * cost.difference(
                width, base + self.steps[step.first].offset + shift,
                targets + rows.sample[r] * target_stride + step.second + shift, step.constant,
                base + step.offset, scratch + link.slot * capacity + r * link.width)


cdef void expand(const Rows *rows, const double *column, double *out, Py_ssize_t width) noexcept nogil:
    """One value per row becomes a dense row that is zero elsewhere."""
    cdef Py_ssize_t r
    memset(out, 0, rows.count * width * sizeof(double))
    for r in range(rows.count):
        out[r * width + rows.column[r]] = column[r]


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
