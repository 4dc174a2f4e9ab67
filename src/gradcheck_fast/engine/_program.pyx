# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True
"""What the steps of a program do: their values for samples, and their differences for blocks of rows.

Every kind of step has one branch in forward() and one in propagate(); the perturbation loops know no kinds.
"""
from libc.string cimport memcpy, memmove, memset

from gradcheck_fast.kernels._kernels cimport (
    GF_PANEL, gf_cost, gf_cost_place, gf_difference, gf_elementwise, kernels_for)

WORK_PER_PAIR = PAIR_WORK


cdef class CompiledProgram:
    """A program's tables, as C reads them.

    Parameters
    ----------
    steps, terms, blocks, routes, uses : structured ndarray
        As `gradcheck_fast.program.program`, `gradcheck_fast.program.parameters` and `gradcheck_fast.engine.routes` lay them out.
    tape_stride : int
        Doubles that one sample takes on the tape.
    n_slots : int
        Slots for differences.
    capacity, pairs : int
        How many pairs a block has room for, in whole panels, and how many it holds at most.
    isa : str
        Which build of the kernels to use; one of `_kernels.instruction_sets()`.
    """

    def __init__(self, const Step[::1] steps, const Term[::1] terms, const Block[::1] blocks,
                 const Route[::1] routes, const Use[::1] uses, Py_ssize_t tape_stride, Py_ssize_t n_slots,
                 Py_ssize_t capacity, Py_ssize_t pairs, str isa):
        self.kernels = kernels_for(isa)
        self.steps = steps
        self.terms = terms
        self.blocks = blocks
        self.routes = routes
        self.uses = uses
        self.tape_stride = tape_stride
        self.n_slots = n_slots
        self.capacity = capacity
        self.pairs = pairs

    # ---- values

    cdef void forward(self, const double *theta, const double *inputs, Py_ssize_t input_stride,
                      const double *targets, Py_ssize_t target_stride, Py_ssize_t samples, double *tape,
                      double *costs, Py_ssize_t cost_stride) noexcept nogil:
        """Fills the tape of some samples, and adds the cost of each to its place in `costs`."""
        cdef Py_ssize_t k, n, c, stride = self.tape_stride
        cdef const Step *step
        cdef const Step *steps = &self.steps[0]
        cdef const double *first
        cdef const double *second
        cdef const gf_cost *cost
        cdef double *out
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
                        costs[n * cost_stride] += step.scale * cost.value(
                            step.width, first, targets + n * target_stride + step.second, step.constant, out,
                            step.padded)

    cdef bint included(self, const Step *step, const double *sample) noexcept nogil:
        """Whether the step's mask lets this sample (its row of the tape) in."""
        return step.mask == NOTHING or sample[self.steps[step.mask].offset] != 0.0

    cdef void affine_values(self, const Step *step, const double *theta, Py_ssize_t samples,
                            double *tape) noexcept nogil:
        """out = constant + sum over the terms: b, a W, a * w; without terms it stays zero, for nothing writes there."""
        cdef Py_ssize_t t, n, c, stride = self.tape_stride
        cdef const Term *term
        cdef const Block *block
        cdef const double *parameter
        cdef const double *a
        cdef double *out
        cdef bint accumulate = False
        for t in range(step.first_term, step.first_term + step.n_terms):
            term = &self.terms[t]
            if term.step == NOTHING or term.diagonal:
                parameter = theta + self.blocks[term.parameter].packed
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
                block = &self.blocks[term.parameter]
                self.kernels.matmul(samples, block.rows, step.padded // GF_PANEL,
                                    tape + self.steps[term.step].offset, stride, 1,
                                    theta + block.packed, block.panel_stride,
                                    tape + step.offset, stride, GF_PANEL, accumulate)
            accumulate = True
        if step.constant != 0.0:
            for n in range(samples):
                out = tape + n * stride + step.offset
                for c in range(step.width):
                    out[c] += step.constant

    # ---- differences

    cdef void propagate(self, const Route *route, Pairs *pairs, const double *theta, const double *targets,
                        Py_ssize_t target_stride, double *scratch) noexcept nogil:
        """Runs a block of pairs through everything downstream and leaves each one's changes of the cost.

        A step whose inputs have no difference, and in which nothing is perturbed, is passed over. While all that has
        changed is one column of one step, pairs in which that has become exactly zero (a rectifier that stays off) are
        dropped from the block: their change is zero.
        """
        cdef Py_ssize_t k, s, inject, first, second, changed, use = route.first_use
        cdef Py_ssize_t last_use = route.first_use + route.n_uses
        cdef const Step *step
        cdef const Term *reader
        cdef double *work = scratch            # PAIR_WORK doubles per pair; the slots follow
        cdef double *slots = scratch + PAIR_WORK * self.capacity
        cdef bint any_cost = False
        memset(pairs.change, 0, pairs.base.count * sizeof(double))
        memset(pairs.change + self.capacity, 0, pairs.base.count * sizeof(double))
        memset(pairs.state, 0, self.n_slots * sizeof(Py_ssize_t))
        if pairs.crossed != NULL:
            memset(pairs.crossed, 0, pairs.base.count * sizeof(Py_ssize_t))
        k = (self.uses[use].step if route.n_uses else self.steps.shape[0]) - 1
        while k + 1 < self.steps.shape[0]:
            k += 1
            step = &self.steps[k]
            inject = NOTHING
            if use < last_use and self.uses[use].step == k:
                inject = self.uses[use].term
                use += 1
            if not step.needed or step.kind == INPUT:
                continue
            if step.kind == AFFINE:
                changed = self.affine_difference(step, inject, pairs, theta, slots, work)
                if changed == ZERO:
                    continue
            else:
                first = self.state_of(step.first, pairs)
                second = self.state_of(step.second, pairs) if step.second != NOTHING and step.kind != COST else ZERO
                if first == ZERO and second == ZERO:
                    continue
                changed = DENSE if first > COLUMN or second > COLUMN or step.kind == SOFTMAX or (
                    step.kind == COST and not self.kernels.costs[step.operation].separable) else COLUMN
                if step.kind == ELEMENTWISE:
                    reader = NULL
                    if changed == DENSE:
                        reader = self.narrow_reader(k, self.uses[use].step if use < last_use else NOTHING, pairs)
                    if reader != NULL:
                        self.elementwise_and_narrow(step, reader, pairs, theta, slots, work)
                        pairs.state[self.steps[step.first].slot] = ZERO
                        k += 1
                        pairs.state[self.steps[k].slot] = DENSE
                        continue
                    self.elementwise_difference(step, pairs, theta, slots, work)
                else:
                    if changed == DENSE:
                        if first != ZERO:
                            self.expand(&self.steps[step.first], pairs, theta, slots, work)
                        if second != ZERO:
                            self.expand(&self.steps[step.second], pairs, theta, slots, work)
                    if step.kind == SOFTMAX:
                        for s in range(2 * pairs.base.count):
                            self.kernels.softmax_difference(
                                step.width, pairs.base.tape + pairs.sample[s // 2] * self.tape_stride + step.offset,
                                self.slot_of(&self.steps[step.first], slots) + s * self.steps[step.first].row,
                                self.slot_of(step, slots) + s * step.row)
                    elif step.kind == COST:
                        self.cost_difference(step, pairs, targets, target_stride, slots)
                        any_cost = True
                    else:
                        self.pairwise_difference(step, pairs, slots, changed == DENSE)
                if step.first_ends:
                    pairs.state[self.steps[step.first].slot] = ZERO
                if step.second_ends:
                    pairs.state[self.steps[step.second].slot] = ZERO
            if step.kind == COST:
                continue
            pairs.state[step.slot] = changed
            if changed == COLUMN and use == last_use and not any_cost:
                for s in range(self.n_slots):
                    if pairs.state[s] != ZERO and s != step.slot:
                        break
                else:
                    drop_zeros(pairs, self.slot_of(step, slots))

    cdef Py_ssize_t state_of(self, Py_ssize_t step, const Pairs *pairs) noexcept nogil:
        """The state of an earlier step's slot; inputs never have a difference."""
        return ZERO if self.steps[step].kind == INPUT else pairs.state[self.steps[step].slot]

    cdef double *slot_of(self, const Step *step, double *slots) noexcept nogil:
        return slots + 2 * step.slot_offset * self.capacity

    cdef gf_difference difference_of(self, const Step *step, const Pairs *pairs, const double *theta, double *slots,
                                     double *work) noexcept nogil:
        """A difference that is DENSE or SELECTED; then what scales the rows moves to `work`, and the slot is free."""
        cdef const Block *block
        cdef double *d = self.slot_of(step, slots)
        if pairs.state[step.slot] == DENSE:
            return gf_difference(d, step.row, NULL, 0, NULL)
        block = &self.blocks[self.terms[pairs.term[step.slot]].parameter]
        memcpy(work, d, pairs.base.count * sizeof(double))
        memcpy(work + self.capacity, d + self.capacity, pairs.base.count * sizeof(double))
        return gf_difference(theta + block.packed, 0, work, block.panel_stride, theta + block.squares)

    cdef void expand(self, const Step *step, Pairs *pairs, const double *theta, double *slots,
                     double *work) noexcept nogil:
        """A column, or a multiple of a matrix's row, becomes dense."""
        cdef double *d = self.slot_of(step, slots)
        cdef double *row
        cdef gf_difference selected
        cdef Py_ssize_t p, s, state = pairs.state[step.slot]
        if state == SELECTED:
            selected = self.difference_of(step, pairs, theta, slots, work)
            self.kernels.select_rows(&pairs.base, step.padded // GF_PANEL, &selected, d, step.row, False)
            pairs.state[step.slot] = DENSE
        elif state == COLUMN:
            memcpy(work, d, 2 * self.capacity * sizeof(double))
            for p in range(pairs.base.count):
                for s in range(2):
                    row = d + (2 * p + s) * step.row
                    memset(row, 0, step.padded * sizeof(double))
                    row[pairs.column[p]] = work[s * self.capacity + p]
            pairs.state[step.slot] = DENSE

    cdef Py_ssize_t affine_difference(self, const Step *step, Py_ssize_t inject, Pairs *pairs, const double *theta,
                                      double *slots, double *work) noexcept nogil:
        """The changed inputs times their matrices; then what is perturbed in this step itself. Returns the state."""
        cdef const Term *term
        cdef Py_ssize_t t, state, last = NOTHING, changes = inject != NOTHING, result = COLUMN
        cdef bint accumulate = False
        for t in range(step.first_term, step.first_term + step.n_terms):
            term = &self.terms[t]
            state = ZERO if term.step == NOTHING else self.state_of(term.step, pairs)
            if state == ZERO:
                continue
            changes += 1
            last = t
            if state == SELECTED:
                self.expand(&self.steps[term.step], pairs, theta, slots, work)
            if state > COLUMN or not term.diagonal:
                result = DENSE
        if changes == 0:
            return ZERO
        if changes == 1 and inject == NOTHING and not self.terms[last].diagonal and (
                self.state_of(self.terms[last].step, pairs) == COLUMN):
            memcpy(self.slot_of(step, slots), self.slot_of(&self.steps[self.terms[last].step], slots),
                   2 * self.capacity * sizeof(double))
            pairs.term[step.slot] = last
            result = SELECTED
        else:
            for t in range(step.first_term, step.first_term + step.n_terms):
                term = &self.terms[t]
                if term.step == NOTHING or self.state_of(term.step, pairs) == ZERO:
                    continue
                if term.diagonal:
                    self.diagonal_difference(step, term, pairs, theta, slots, result == DENSE, accumulate)
                else:
                    self.dense_product(step, term, pairs, theta, slots, accumulate)
                accumulate = True
            if inject != NOTHING:
                self.inject_perturbation(step, inject, pairs, slots, result == DENSE, accumulate)
        for t in range(step.first_term, step.first_term + step.n_terms):
            if self.terms[t].ends:
                pairs.state[self.steps[self.terms[t].step].slot] = ZERO
        return result

    cdef void dense_product(self, const Step *step, const Term *term, const Pairs *pairs, const double *theta,
                            double *slots, bint accumulate) noexcept nogil:
        """out = or += d W, for dense rows d or for columns."""
        cdef const Block *block = &self.blocks[term.parameter]
        cdef const double *d = self.slot_of(&self.steps[term.step], slots)
        cdef double *out = self.slot_of(step, slots)
        cdef gf_difference selected
        cdef Py_ssize_t row = self.steps[term.step].row, panels = step.padded // GF_PANEL
        if self.state_of(term.step, pairs) == COLUMN:
            selected = gf_difference(theta + block.packed, 0, d, block.panel_stride, theta + block.squares)
            self.kernels.select_rows(&pairs.base, panels, &selected, out, step.row, accumulate)
            return
        if block.narrow != NOTHING:
            panels -= 1
            self.kernels.matmul_narrow(2 * pairs.base.count, block.rows, block.columns - panels * GF_PANEL, d, row,
                                       theta + block.narrow, block.narrow_row, out + panels * GF_PANEL, step.row,
                                       accumulate)
        self.kernels.matmul(2 * pairs.base.count, block.rows, panels, d, row, 1, theta + block.packed,
                            block.panel_stride, out, step.row, GF_PANEL, accumulate)

    cdef void inject_perturbation(self, const Step *step, Py_ssize_t inject, const Pairs *pairs, double *slots,
                                  bint dense, bint accumulate) noexcept nogil:
        """Into each row's column j: unit and bias: h; W[i, j]: h (a_i + da_i); w[j]: h (a_j + da_j)."""
        cdef const Term *term = NULL
        cdef const double *d = NULL
        cdef double *out = self.slot_of(step, slots)
        cdef double h, factor
        cdef Py_ssize_t p, s, i = 0, state = ZERO
        if inject != UNIT and self.terms[inject].step != NOTHING:
            term = &self.terms[inject]
            state = self.state_of(term.step, pairs)
            d = self.slot_of(&self.steps[term.step], slots)
        for p in range(pairs.base.count):
            for s in range(2):
                h = -pairs.h if s else pairs.h
                factor = 1.0
                if term != NULL:
                    i = pairs.column[p] if term.diagonal else pairs.input[p]
                    factor = pairs.base.tape[pairs.sample[p] * self.tape_stride + self.steps[term.step].offset + i]
                    if state == DENSE:
                        factor += d[(2 * p + s) * self.steps[term.step].row + i]
                    elif state == COLUMN and i == pairs.column[p]:
                        factor += d[s * self.capacity + p]
                if dense:
                    out[(2 * p + s) * step.row + pairs.column[p]] += h * factor
                else:
                    out[s * self.capacity + p] = h * factor + (out[s * self.capacity + p] if accumulate else 0.0)

    cdef void diagonal_difference(self, const Step *step, const Term *term, const Pairs *pairs, const double *theta,
                                  double *slots, bint dense, bint accumulate) noexcept nogil:
        """out = or += d * w; a column stays in its column."""
        cdef const double *parameter = theta + self.blocks[term.parameter].packed
        cdef const double *d = self.slot_of(&self.steps[term.step], slots)
        cdef double *out = self.slot_of(step, slots)
        cdef double *row
        cdef Py_ssize_t p, s, c, j
        cdef bint column = self.state_of(term.step, pairs) == COLUMN
        for p in range(pairs.base.count):
            j = pairs.column[p]
            for s in range(2):
                if not dense:
                    row = out + s * self.capacity + p
                    row[0] = d[s * self.capacity + p] * parameter[j] + (row[0] if accumulate else 0.0)
                    continue
                row = out + (2 * p + s) * step.row
                if not accumulate:
                    memset(row, 0, step.padded * sizeof(double))
                if column:
                    row[j] += d[s * self.capacity + p] * parameter[j]
                else:
                    for c in range(step.width):
                        row[c] += d[(2 * p + s) * self.steps[term.step].row + c] * parameter[c]

    cdef void elementwise_difference(self, const Step *step, const Pairs *pairs, const double *theta, double *slots,
                                     double *work) noexcept nogil:
        cdef const gf_elementwise *operation = &self.kernels.elementwise[step.operation]
        cdef const Step *before = &self.steps[step.first]
        cdef gf_difference d
        cdef bint count = pairs.crossed != NULL and operation.kinks > 0
        if pairs.state[before.slot] == COLUMN:
            if count:
                self.kernels.count_column_kinks(operation, &pairs.base, before.offset, self.slot_of(before, slots),
                                                pairs.crossed)
            operation.column_difference(&pairs.base, before.offset, step.offset, step.padded,
                                        self.slot_of(before, slots), self.slot_of(step, slots))
            return
        d = self.difference_of(before, pairs, theta, slots, work)
        if count:
            self.kernels.count_kinks(operation, &pairs.base, step.width, before.offset, &d, pairs.crossed)
        operation.difference(&pairs.base, 0, pairs.base.count, step.padded // GF_PANEL, before.offset, step.offset,
                             step.padded, &d, self.slot_of(step, slots), step.row)

    cdef const Term *narrow_reader(self, Py_ssize_t number, Py_ssize_t inject_at, const Pairs *pairs) noexcept nogil:
        """The term by which the next step multiplies this one by a matrix of few columns, and nothing else changes in
        that step, nor reads this one; NULL if it is not so."""
        cdef const Term *term
        cdef const Term *reader = NULL
        cdef const Step *step
        if number + 1 == self.steps.shape[0] or inject_at == number + 1:
            return NULL
        step = &self.steps[number + 1]
        if step.kind != AFFINE or not step.needed or not self.steps[number].first_ends:
            return NULL
        if step.slot == self.steps[self.steps[number].first].slot:  # it would be written over while it is read
            return NULL
        for t in range(step.first_term, step.first_term + step.n_terms):
            term = &self.terms[t]
            if term.step == number and term.ends and not term.diagonal and reader == NULL:
                reader = term
            elif term.step != NOTHING and (term.step == number or self.state_of(term.step, pairs) != ZERO):
                return NULL
        if reader == NULL or self.blocks[reader.parameter].narrow == NOTHING or step.padded > GF_PANEL:
            return NULL
        return reader

    cdef void elementwise_and_narrow(self, const Step *step, const Term *term, Pairs *pairs, const double *theta,
                                     double *slots, double *work) noexcept nogil:
        """An elementwise step and the narrow product that reads it, which is the next step."""
        cdef const Step *before = &self.steps[step.first]
        cdef const Step *after = step + 1
        cdef const Block *block = &self.blocks[term.parameter]
        cdef const gf_elementwise *operation = &self.kernels.elementwise[step.operation]
        cdef gf_difference d = self.difference_of(before, pairs, theta, slots, work)
        if pairs.crossed != NULL and operation.kinks > 0:
            self.kernels.count_kinks(operation, &pairs.base, step.width, before.offset, &d, pairs.crossed)
        self.kernels.elementwise_narrow(
            operation, &pairs.base, step.padded, before.offset, step.offset,
            step.padded, &d, self.slot_of(step, slots), step.row, block.columns, theta + block.narrow, block.narrow_row,
            self.slot_of(after, slots), after.row)

    cdef void pairwise_difference(self, const Step *step, const Pairs *pairs, double *slots, bint dense) noexcept nogil:
        """add: df + constant dg; product: df g + f dg + df dg; choose: df or dg.

        A column is a row of width one that begins at its column.
        """
        cdef const Step *first = &self.steps[step.first]
        cdef const Step *second = &self.steps[step.second]
        cdef const double *sample
        cdef const double *base
        cdef const double *df
        cdef const double *dg
        cdef double *out
        cdef Py_ssize_t p, s, column, width = step.padded if dense else 1
        cdef bint first_changes = self.state_of(step.first, pairs) != ZERO
        cdef bint second_changes = self.state_of(step.second, pairs) != ZERO
        for p in range(pairs.base.count):
            sample = pairs.base.tape + pairs.sample[p] * self.tape_stride
            base = sample + (0 if dense else pairs.column[p])
            for s in range(2):
                column = s * self.capacity + p
                df = self.slot_of(first, slots) + ((2 * p + s) * first.row if dense else column)
                dg = self.slot_of(second, slots) + ((2 * p + s) * second.row if dense else column)
                out = self.slot_of(step, slots) + ((2 * p + s) * step.row if dense else column)
                df = df if first_changes else NULL
                dg = dg if second_changes else NULL
                if step.kind == PRODUCT:
                    self.kernels.product_difference(width, base + first.offset, base + second.offset, df, dg, out)
                elif step.kind == ADD:
                    self.kernels.sum_difference(width, step.constant, df, dg, out)
                else:
                    if not self.included(step, sample):
                        df = dg
                    if df == NULL:
                        memset(out, 0, width * sizeof(double))
                    else:
                        memmove(out, df, width * sizeof(double))

    cdef void cost_difference(self, const Step *step, const Pairs *pairs, const double *targets,
                              Py_ssize_t target_stride, double *slots) noexcept nogil:
        cdef const gf_cost *cost = &self.kernels.costs[step.operation]
        cdef const Step *first = &self.steps[step.first]
        cdef Py_ssize_t mask = NOTHING if step.mask == NOTHING else self.steps[step.mask].offset
        cdef gf_cost_place place = gf_cost_place(
            step.width, first.offset, step.offset, step.padded, mask, targets + step.second, target_stride,
            step.constant, step.scale)
        cdef const double *d = self.slot_of(first, slots)
        cdef Py_ssize_t row = first.row if self.state_of(step.first, pairs) == DENSE else 0
        if pairs.crossed != NULL and cost.kink:
            self.kernels.count_cost_kinks(&pairs.base, &place, d, row, pairs.crossed)
        cost.difference(&pairs.base, &place, d, row, pairs.change)


cdef void drop_zeros(Pairs *pairs, double *d) noexcept nogil:
    """Keeps the pairs of which not both values d are zero (NaN is kept)."""
    cdef Py_ssize_t p, kept = 0, capacity = pairs.base.capacity
    for p in range(pairs.base.count):
        if d[p] == 0.0 and d[capacity + p] == 0.0:
            continue
        d[kept] = d[p]
        d[capacity + kept] = d[capacity + p]
        pairs.sample[kept] = pairs.sample[p]
        pairs.input[kept] = pairs.input[p]
        pairs.column[kept] = pairs.column[p]
        pairs.source[kept] = pairs.source[p]
        if pairs.crossed != NULL:
            pairs.crossed[kept] = pairs.crossed[p]
        kept += 1
    pairs.base.count = kept
