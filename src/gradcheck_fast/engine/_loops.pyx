# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True
"""Runs the perturbation loops, which decide what is perturbed, in which block, and by which thread.

The work is cut into tasks that do not depend on the number of threads. Each result is written by one task, and summed
in a fixed order, so that results are bitwise equal for any number of threads. Samples come in chunks: the caller fills
a tape for one chunk (`fill_tape`), runs the tasks of a method over it, and goes on to the next. The methods run a range
of tasks and return, so that the caller can look for Ctrl-C and report progress.
"""
from cython.parallel cimport prange, threadid
from libc.math cimport INFINITY, fabs
from libc.string cimport memcpy

from gradcheck_fast.engine._differences cimport propagate
from gradcheck_fast.engine._program cimport (
    COST, ELEMENTWISE, NOTHING, PAIR_WORK, CompiledProgram, Pairs, ParameterBlock, Route, Step, Task, Term)
from gradcheck_fast.engine._tape cimport Chunk, row_pointer
from gradcheck_fast.engine._values cimport forward
from gf_kernels cimport GF_PANEL, gf_elementwise, gf_pairs

cdef enum:
    # The integers per pair of a block; after them come two per slot.
    NUMBERS = 10
    # The doubles per pair of a block; before them comes a row of the tape, and after them what propagate() needs.
    CHANGES = 4

# To find the slopes on either side of a kink, values that lie on it, or nearer to it than this, are moved away by this.
cdef double ASIDE = 2.0 ** -32
# They are then perturbed by at most this, so that they do not come back.
cdef double LITTLE = 2.0 ** -50

#: The integers that a thread needs for each pair of a block.
NUMBERS_PER_PAIR: int = NUMBERS
#: The doubles that a thread needs for each pair of a block, besides the slots.
VALUES_PER_PAIR: int = CHANGES + PAIR_WORK


# ---- direct

def direct(CompiledProgram program, double[:, ::1] theta, const Py_ssize_t[::1] position, const double[::1] plus,
           const double[::1] minus, Chunk chunk, double[:, :, ::1] tapes, double[:, ::1] costs,
           Py_ssize_t begin, Py_ssize_t end, Py_ssize_t n_threads):
    """Runs two forward passes for each of the parameters begin..end, and adds their costs to costs[0] and costs[1].

    `theta` and `tapes` hold one private copy for each thread. position[p] is the place of parameter p in `theta`.
    """
    cdef Py_ssize_t p
    for p in prange(begin, end, schedule="dynamic", num_threads=n_threads, nogil=True):
        direct_task(program, &theta[threadid(), 0], position[p], plus[p], minus[p], chunk, &tapes[threadid(), 0, 0],
                    &costs[0, p], &costs[1, p])


cdef void direct_task(CompiledProgram program, double *theta, Py_ssize_t at, double plus, double minus, Chunk chunk,
                      double *tape, double *cost_plus, double *cost_minus) noexcept nogil:
    cdef double saved = theta[at]
    cdef const double *inputs = row_pointer(chunk.inputs, chunk.begin)
    cdef const double *targets = row_pointer(chunk.targets, chunk.begin)
    theta[at] = plus
    forward(program, theta, inputs, chunk.inputs.shape[1], targets, chunk.targets.shape[1], chunk.count, tape,
            cost_plus, 0)
    theta[at] = minus
    forward(program, theta, inputs, chunk.inputs.shape[1], targets, chunk.targets.shape[1], chunk.count, tape,
            cost_minus, 0)
    theta[at] = saved


# ---- difference arithmetic

cdef class Workspace:
    """All that tasks read and write: a program and its parameters, a chunk with its tape, memory, and the results.

    Parameters
    ----------
    program : CompiledProgram
        Pairs of which have two rows.
    odd : CompiledProgram
        The same, with one row for a pair. It is used for the samples that are not `near`.
    theta : ndarray
        The packed parameters.
    chunk : Chunk
    tasks : structured ndarray
    h : float
        The step.
    rows_of_slopes : ndarray of float64
        The slopes of each sample; see `_tape.fill_slopes`.
    near : ndarray of uint8
        Which samples need two rows for a pair.
    scratch, numbers : ndarray
        The doubles and integers that each thread works in, a row for each thread.
    found : ndarray of float64
        The results. Those of the units of a route begin at route.sensitivities times the samples of a full chunk, and
        lie in panels of 16 columns with a row for each sample. Those of parameters are added to the entries of a flat
        vector.
    slopes : ndarray of float64
        If it has two rows like `found`, kinks are counted, and the rows say how far from the result the least and the
        largest slope lie. Without rows, kinks are not counted.
    crossed : ndarray of int
        How many kinks each task crossed.
    """
    cdef CompiledProgram program, odd
    cdef const double[::1] theta
    cdef const double[:, ::1] rows_of_slopes
    cdef const unsigned char[::1] near
    cdef bint any_near, all_near
    cdef readonly Chunk chunk
    cdef const Task[::1] tasks
    cdef double h
    cdef double[:, ::1] scratch
    cdef Py_ssize_t[:, ::1] numbers
    cdef double *result
    cdef double *low
    cdef double *high
    cdef Py_ssize_t[::1] kinks
    cdef readonly object found, slopes  # is an NDArray[np.float64]
    cdef readonly object crossed  # is an NDArray[np.intp]

    def __init__(self, CompiledProgram program, CompiledProgram odd, const double[::1] theta, Chunk chunk,
                 const Task[::1] tasks, double h, const double[:, ::1] rows_of_slopes, const unsigned char[::1] near,
                 double[:, ::1] scratch, Py_ssize_t[:, ::1] numbers, double[::1] found, double[:, ::1] slopes,
                 Py_ssize_t[::1] crossed):
        cdef Py_ssize_t n
        self.program = program
        self.odd = odd
        self.theta = theta
        self.chunk = chunk
        self.rows_of_slopes = rows_of_slopes
        self.near = near
        self.any_near, self.all_near = False, True
        for n in range(chunk.count):
            if near[n]:
                self.any_near = True
            else:
                self.all_near = False
        self.tasks = tasks
        self.h = h
        self.scratch = scratch
        self.numbers = numbers
        self.found, self.slopes, self.crossed = found.base, slopes.base, crossed.base
        self.result = &found[0] if found.shape[0] else NULL
        self.low = &slopes[0, 0] if slopes.shape[0] and slopes.shape[1] else NULL
        self.high = &slopes[1, 0] if slopes.shape[0] and slopes.shape[1] else NULL
        self.kinks = crossed


cdef void lay_out(Pairs *pairs, Workspace work, CompiledProgram program, int thread) noexcept nogil:
    """Makes a block without pairs, of the program's kind, in the memory of a thread."""
    cdef Py_ssize_t capacity = program.capacity
    cdef Py_ssize_t *numbers = &work.numbers[thread, 0]
    cdef const double *slopes = NULL
    if program.rows == 1 and program.slope_stride:
        slopes = &work.rows_of_slopes[0, 0]
    pairs.sample = numbers
    pairs.column = numbers + capacity
    pairs.input = numbers + 2 * capacity
    pairs.source = numbers + 3 * capacity
    pairs.crossed = numbers + 4 * capacity if work.low != NULL and program.rows == 2 else NULL
    pairs.state = numbers + NUMBERS * capacity
    pairs.term = pairs.state + program.n_slots
    pairs.base = gf_pairs(0, capacity, program.rows, pairs.sample, pairs.column, &work.chunk.tape_view[0, 0],
                          program.tape_stride, slopes, program.slope_stride)
    pairs.h = work.h
    pairs.change = &work.scratch[thread, 0] + program.tape_stride  # a row of the tape comes first


cdef inline void add_pair(Pairs *pairs, Py_ssize_t sample, Py_ssize_t i, Py_ssize_t j,
                          Py_ssize_t source) noexcept nogil:
    cdef Py_ssize_t p = pairs.base.count
    pairs.sample[p] = sample
    pairs.column[p] = j
    pairs.input[p] = i
    pairs.source[p] = source
    pairs.base.count = p + 1


cdef Py_ssize_t run_block(Workspace work, CompiledProgram program, Chunk chunk, const Route *route,
                          Pairs *pairs) noexcept nogil:
    """Runs a block of pairs, adds (cost(+h) - cost(-h)) / 2h to result[source], and empties the block.

    Of pairs with one row, what was computed is (cost(+h) - cost(-h)) / 2.

    Where kinks are crossed, it also adds to low[source] and high[source] how far from that the least and the largest
    slope of the cost lie (see add_slopes). Returns how many kinks were crossed.
    """
    cdef Py_ssize_t p, kinked = 0, crossed = 0
    cdef double plus, minus, per_step = 1.0 / (program.rows * pairs.h)
    propagate(program, route, pairs, &work.theta[0], row_pointer(chunk.targets, chunk.begin), chunk.targets.shape[1],
              pairs.change + CHANGES * program.capacity)
    for p in range(pairs.base.count):
        plus = pairs.change[p]
        minus = pairs.change[program.capacity + p] if program.rows == 2 else 0.0
        work.result[pairs.source[p]] += (plus - minus) * per_step
        if pairs.crossed != NULL and pairs.crossed[p] > 0:
            crossed += pairs.crossed[p]
            keep(pairs, p, kinked)
            kinked += 1
    for p in range(kinked):
        add_slopes(work, program, chunk, route, pairs, p)
    pairs.base.count = 0
    return crossed


cdef void keep(Pairs *pairs, Py_ssize_t p, Py_ssize_t place) noexcept nogil:
    """Copies pair p and its changes to a place where another run does not overwrite them."""
    cdef Py_ssize_t k, capacity = pairs.base.capacity
    cdef Py_ssize_t *kept = pairs.sample + 5 * capacity
    for k in range(4):
        kept[k * capacity + place] = pairs.sample[k * capacity + p]
    for k in range(2):
        pairs.change[(2 + k) * capacity + place] = pairs.change[k * capacity + p]


cdef void add_slopes(Workspace work, CompiledProgram program, Chunk chunk, const Route *route, Pairs *pairs,
                     Py_ssize_t place) noexcept nogil:
    """Adds to low and high of a kept pair how far from its central difference its slopes lie.

    These are the slopes to both sides, and those that the cost has when the values on kinks are moved off them: all to
    the left, all to the right, and for operations with two kinks all inside or all outside. If no value lies on a kink,
    because only the large step crossed one, all of these are one slope.
    """
    cdef Py_ssize_t k, capacity = pairs.base.capacity
    cdef const Py_ssize_t *kept = pairs.sample + 5 * capacity
    cdef Py_ssize_t sample = kept[place], source = kept[3 * capacity + place]
    cdef double *values = pairs.change + CHANGES * capacity
    cdef double *row = pairs.change - program.tape_stride
    cdef const double *targets = row_pointer(chunk.targets, chunk.begin + sample)
    cdef double central = (pairs.change[2 * capacity + place] - pairs.change[3 * capacity + place]) / (2.0 * pairs.h)
    cdef double least = INFINITY, most = -INFINITY, plus, minus
    cdef Pairs one = pairs[0]
    one.base.tape = row
    one.crossed = NULL
    one.h = min(LITTLE, 2.0 ** -10 * pairs.h)
    for k in range(5):
        memcpy(row, &chunk.tape_view[sample, 0], program.tape_stride * sizeof(double))
        if k > 0:
            move_aside(program, row, targets, 1.0 if k & 1 else -1.0, 1.0 if k & 2 else -1.0)
        one.base.count = 0
        add_pair(&one, 0, kept[2 * capacity + place], kept[capacity + place], source)
        propagate(program, route, &one, &work.theta[0], targets, chunk.targets.shape[1], values)
        plus = one.change[0] / one.h if one.base.count > 0 else 0.0
        minus = -one.change[capacity] / one.h if one.base.count > 0 else 0.0
        if k > 0:
            plus = minus = 0.5 * (plus + minus)
        least = min(least, min(plus, minus))
        most = max(most, max(plus, minus))
    # moving values aside also changes the slopes a little, because other values are multiplied with them
    work.low[source] += least - central - ASIDE * (most - least)
    work.high[source] += most - central + ASIDE * (most - least)


cdef void move_aside(CompiledProgram program, double *row, const double *targets, double first,
                     double second) noexcept nogil:
    """Moves values that lie on a kink to one side of it, -1 or 1: `first` for an operation's first kink, else `second`.

    A cost has one kink, at its targets.
    """
    cdef Py_ssize_t k, c, kink
    cdef const Step *step
    cdef const gf_elementwise *operation
    cdef double *x
    for k in range(program.steps.shape[0]):
        step = &program.steps[k]
        if step.kind == ELEMENTWISE:
            operation = &program.kernels.elementwise[step.operation]
            x = row + program.steps[step.first].offset
            for kink in range(operation.kinks):
                for c in range(step.width):
                    x[c] = aside(x[c], operation.kink[kink], second if kink else first)
        elif step.kind == COST and program.kernels.costs[step.operation].kink:
            x = row + program.steps[step.first].offset
            for c in range(step.width):
                x[c] = aside(x[c], targets[step.second + c], first)


cdef double aside(double x, double kink, double side) noexcept nogil:
    cdef double distance = ASIDE * max(1.0, fabs(kink))
    return kink + side * distance if fabs(x - kink) < distance else x


def units(Workspace work, Py_ssize_t n_threads, Py_ssize_t begin, Py_ssize_t end):
    """Writes the central difference of the cost at each unit of each sample, for the tasks begin..end."""
    cdef Py_ssize_t k
    for k in prange(begin, end, schedule="dynamic", num_threads=n_threads, nogil=True):
        if not work.all_near:
            units_task(work, work.odd, work.chunk, &work.tasks[k], threadid())
        if work.any_near:
            work.kinks[k] += units_task(work, work.program, work.chunk, &work.tasks[k], threadid())


cdef Py_ssize_t units_task(Workspace work, CompiledProgram program, Chunk chunk, const Task *task,
                           int thread) noexcept nogil:
    """Runs one task for the samples whose pairs have as many rows as those of the program."""
    cdef Pairs pairs
    cdef const Route *route = &program.routes[task.route]
    cdef Py_ssize_t n, j, source, samples = chunk.tape_view.shape[0], crossed = 0
    lay_out(&pairs, work, program, thread)
    for n in range(task.first, task.last):
        if work.near[n] != (program.rows == 2):
            continue
        for j in range(task.begin, task.end):
            source = route.sensitivities * samples + (j // GF_PANEL * samples + n) * GF_PANEL + j % GF_PANEL
            work.result[source] = 0.0
            add_pair(&pairs, n, 0, j, source)
            if pairs.base.count == program.pairs:
                crossed += run_block(work, program, chunk, route, &pairs)
    return crossed + run_block(work, program, chunk, route, &pairs)


def incremental(Workspace work, Py_ssize_t n_threads, Py_ssize_t begin, Py_ssize_t end,
                const Py_ssize_t[::1] chosen=None):
    """Adds the central difference of the cost at each parameter to `found`, for the tasks begin..end.

    A task is a range of a route's parameters or, if only some are `chosen`, a range of these.
    """
    cdef Py_ssize_t k
    cdef const Py_ssize_t *some = NULL if chosen is None or chosen.shape[0] == 0 else &chosen[0]
    for k in prange(begin, end, schedule="dynamic", num_threads=n_threads, nogil=True):
        if not work.all_near:
            incremental_task(work, work.odd, work.chunk, &work.tasks[k], some, threadid())
        if work.any_near:
            work.kinks[k] += incremental_task(work, work.program, work.chunk, &work.tasks[k], some, threadid())


cdef Py_ssize_t incremental_task(Workspace work, CompiledProgram program, Chunk chunk, const Task *task,
                                 const Py_ssize_t *chosen, int thread) noexcept nogil:
    """Runs one task, for the samples that `units_task` says.

    The k-th parameter is W[k % rows, k // rows], so that neighbours use the same row of a matrix.

    In a sample in which W[i, j] is multiplied with exactly zero, its perturbation has no effect and gets no pair.
    """
    cdef Pairs pairs
    cdef Py_ssize_t k, own, n, i, j, factor, crossed = 0
    cdef const Route *route = &program.routes[task.route]
    cdef const ParameterBlock *block = &program.blocks[route.parameter]
    cdef const Term *term = NULL if route.skip == NOTHING else &program.terms[route.skip]
    lay_out(&pairs, work, program, thread)
    for n in range(task.first, task.last):
        if work.near[n] != (program.rows == 2):
            continue
        for k in range(task.begin, task.end):
            own = k if chosen == NULL else chosen[k]
            i = own % block.rows
            j = own // block.rows
            if term != NULL:
                factor = program.steps[term.step].offset + (j if term.diagonal else i)
                if chunk.tape_view[n, factor] == 0.0:
                    continue
            add_pair(&pairs, n, i, j, block.flat + i * block.stride + j)
            if pairs.base.count == program.pairs:
                crossed += run_block(work, program, chunk, route, &pairs)
    return crossed + run_block(work, program, chunk, route, &pairs)
