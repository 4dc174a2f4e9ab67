# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True
"""The perturbation loops: who is perturbed, in which block, by which thread.

Work is cut into tasks that do not depend on the number of threads; each result is written by one task, and summed in
a fixed order. So results are bitwise equal for any number of threads. Samples come in chunks: the caller fills a tape
for one chunk (`fill_tape`), runs the tasks of a method over it, and goes on to the next. Every function here runs a
range of tasks and returns, so that the caller can look for Ctrl-C and report progress.
"""
from cython.parallel cimport prange, threadid
from libc.math cimport fabs

from gradcheck_fast._program cimport (
    GF_PANEL, NOTHING, CompiledProgram, Route, Rows, Term)

cdef extern from *:
    """
    #ifdef _OPENMP
    #define GF_HAS_OPENMP 1
    #else
    #define GF_HAS_OPENMP 0
    #endif
    """
    const bint GF_HAS_OPENMP

cdef enum:
    NUMBERS = 4   # integers per row of a block, below; the states of the slots follow

has_openmp = bool(GF_HAS_OPENMP)
ROW_NUMBERS = NUMBERS
ROW_VALUES = 2    # doubles per row of a block, besides propagate()'s own

cdef struct Task:              # a range of the units or parameters of one route
    Py_ssize_t route
    Py_ssize_t begin
    Py_ssize_t end


cdef class Chunk:
    """Some samples of the data, and their tape at the unperturbed parameters."""
    cdef const double[:, ::1] inputs
    cdef const double[:, ::1] targets
    cdef double[:, ::1] tape_view
    cdef readonly object tape
    cdef readonly Py_ssize_t begin, count

    def __init__(self, const double[:, ::1] inputs, const double[:, ::1] targets, double[:, ::1] tape,
                 Py_ssize_t begin, Py_ssize_t count):
        self.inputs = inputs
        self.targets = targets
        self.tape = tape.base
        self.tape_view = tape
        self.begin = begin
        self.count = count


cdef inline const double *row_pointer(const double[:, ::1] array, Py_ssize_t row) noexcept nogil:
    return &array[row, 0] if array.shape[1] > 0 else NULL


def fill_tape(CompiledProgram program, const double[::1] theta, Chunk chunk, double[::1] costs,
              Py_ssize_t block, Py_ssize_t n_threads):
    """Forward pass of a chunk, `block` samples to a task; costs[k] becomes the cost of the k-th block."""
    cdef Py_ssize_t k, first, count, n_blocks = (chunk.count + block - 1) // block
    for k in prange(n_blocks, schedule="dynamic", num_threads=n_threads, nogil=True):
        first = k * block
        count = min(block, chunk.count - first)
        costs[k] = program.forward(
            &theta[0], row_pointer(chunk.inputs, chunk.begin + first), chunk.inputs.shape[1],
            row_pointer(chunk.targets, chunk.begin + first), chunk.targets.shape[1], count, &chunk.tape_view[first, 0])


# ---- direct

def direct(CompiledProgram program, double[:, ::1] theta, const Py_ssize_t[::1] position, const double[::1] plus,
           const double[::1] minus, Chunk chunk, double[:, :, ::1] tapes, double[:, ::1] costs,
           Py_ssize_t begin, Py_ssize_t end, Py_ssize_t n_threads):
    """Two forward passes for each of the parameters begin..end: their costs are added to costs[0] and costs[1].

    theta and tapes hold one private copy per thread; position[p] is where parameter p lies in theta.
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
    cost_plus[0] += program.forward(theta, inputs, chunk.inputs.shape[1], targets, chunk.targets.shape[1],
                                    chunk.count, tape)
    theta[at] = minus
    cost_minus[0] += program.forward(theta, inputs, chunk.inputs.shape[1], targets, chunk.targets.shape[1],
                                     chunk.count, tape)
    theta[at] = saved


# ---- difference arithmetic

cdef void lay_out(Rows *rows, Py_ssize_t *numbers, double *values, Py_ssize_t capacity) noexcept nogil:
    rows.count = 0
    rows.sample = numbers
    rows.input = numbers + capacity
    rows.column = numbers + 2 * capacity
    rows.source = numbers + 3 * capacity
    rows.state = numbers + NUMBERS * capacity
    rows.h = values
    rows.change = values + capacity


cdef inline void add_pair(Rows *rows, Py_ssize_t sample, Py_ssize_t i, Py_ssize_t j, Py_ssize_t source,
                          double h) noexcept nogil:
    cdef Py_ssize_t r
    for r in range(rows.count, rows.count + 2):
        rows.sample[r] = sample
        rows.input[r] = i
        rows.column[r] = j
        rows.source[r] = source
    rows.h[rows.count] = h
    rows.h[rows.count + 1] = -h
    rows.count += 2


cdef void run_block(CompiledProgram program, const Route *route, Rows *rows, const double *theta, Chunk chunk,
                    double *scratch, double *result, double *magnitude) noexcept nogil:
    """result[source] += cost(+h) - cost(-h), magnitude[source] += the sizes of both (unless NULL); empties the block.
    """
    cdef Py_ssize_t r
    program.propagate(route, rows, theta, &chunk.tape_view[0, 0], row_pointer(chunk.targets, chunk.begin),
                      chunk.targets.shape[1], scratch)
    for r in range(rows.count):
        result[rows.source[r]] += rows.change[r] if rows.h[r] > 0.0 else -rows.change[r]
        if magnitude != NULL:
            magnitude[rows.source[r]] += fabs(rows.change[r])
    rows.count = 0


def units(CompiledProgram program, const double[::1] theta, double[:, ::1] scratch,
          Py_ssize_t[:, ::1] numbers, Py_ssize_t n_threads, const Task[::1] tasks, Chunk chunk, double h,
          double[::1] sensitivities, Py_ssize_t begin, Py_ssize_t end):
    """The change of the cost between +h and -h at each unit of each sample, for the tasks begin..end.

    A unit (sample n, column j) of a route has its result at sensitivities[route.sensitivities * samples of a full
    chunk + its place in panels of n rows].
    """
    cdef Py_ssize_t k
    for k in prange(begin, end, schedule="dynamic", num_threads=n_threads, nogil=True):
        units_task(program, &theta[0], &program.routes[tasks[k].route], &tasks[k], chunk, h, &sensitivities[0],
                   &scratch[threadid(), 0], &numbers[threadid(), 0])


cdef void units_task(CompiledProgram program, const double *theta, const Route *route, const Task *task, Chunk chunk,
                     double h, double *sensitivities, double *scratch, Py_ssize_t *numbers) noexcept nogil:
    cdef Rows rows
    cdef Py_ssize_t u, n, j, source, samples = chunk.tape_view.shape[0]
    lay_out(&rows, numbers, scratch, program.capacity)
    for u in range(task.begin, min(task.end, chunk.count * route.width)):
        n = u // route.width
        j = u % route.width
        source = route.sensitivities * samples + (j // GF_PANEL * samples + n) * GF_PANEL + j % GF_PANEL
        sensitivities[source] = 0.0
        add_pair(&rows, n, 0, j, source, h)
        if rows.count + 2 > program.capacity:
            run_block(program, route, &rows, theta, chunk, scratch + 2 * program.capacity, sensitivities, NULL)
    run_block(program, route, &rows, theta, chunk, scratch + 2 * program.capacity, sensitivities, NULL)


def gather(CompiledProgram program, const Py_ssize_t[::1] unit_offset, const Py_ssize_t[::1] uses,
           const Py_ssize_t[:, ::1] panels, Chunk chunk, const double[::1] sensitivities, double[::1] gradient,
           Py_ssize_t n_threads):
    """gradient of each matrix += (what it was multiplied with)^T (sensitivities of the step), summed over its uses.

    A task is one panel of one parameter array, panels[k] = (begin, end, panel): the terms uses[begin:end] multiply by
    that array, and unit_offset[term] is where the sensitivities of its step begin, per sample of a full chunk.
    """
    cdef Py_ssize_t k
    for k in prange(panels.shape[0], schedule="dynamic", num_threads=n_threads, nogil=True):
        gather_task(program, unit_offset, &uses[0], panels[k, 0], panels[k, 1], panels[k, 2], chunk,
                    &sensitivities[0], &gradient[0])


cdef void gather_task(CompiledProgram program, const Py_ssize_t[::1] unit_offset, const Py_ssize_t *uses,
                      Py_ssize_t begin, Py_ssize_t end, Py_ssize_t panel, Chunk chunk, const double *sensitivities,
                      double *gradient) noexcept nogil:
    cdef Py_ssize_t k, n, c, samples = chunk.tape_view.shape[0]
    cdef const Term *term
    cdef const double *a
    cdef const double *s
    cdef double *out
    for k in range(begin, end):
        term = &program.terms[uses[k]]
        s = sensitivities + (unit_offset[uses[k]] + panel * GF_PANEL) * samples
        out = gradient + term.parameter + panel * term.panel_stride
        if term.step == NOTHING:
            for n in range(chunk.count):
                for c in range(GF_PANEL):
                    out[c] += s[n * GF_PANEL + c]
        elif term.diagonal:
            for n in range(chunk.count):
                a = &chunk.tape_view[n, program.steps[term.step].offset + panel * GF_PANEL]
                for c in range(GF_PANEL):
                    out[c] += a[c] * s[n * GF_PANEL + c]
        else:
            program.kernels.matmul(term.rows, chunk.count, 1, &chunk.tape_view[0, program.steps[term.step].offset], 1,
                                   program.tape_stride, s, 0, out, GF_PANEL, 0, True)


def incremental(CompiledProgram program, const double[::1] theta, double[:, ::1] scratch,
                Py_ssize_t[:, ::1] numbers, Py_ssize_t n_threads, const Task[::1] tasks, Chunk chunk, double h,
                double[:, ::1] changes, Py_ssize_t begin, Py_ssize_t end):
    """changes[0] += the change of the cost between +h and -h at each parameter, for the tasks begin..end.

    changes[1] += the sizes of all changes that were added up to it.
    """
    cdef Py_ssize_t k
    for k in prange(begin, end, schedule="dynamic", num_threads=n_threads, nogil=True):
        incremental_task(program, &theta[0], &program.routes[tasks[k].route], &tasks[k], chunk, h, &changes[0, 0],
                         &changes[1, 0], &scratch[threadid(), 0], &numbers[threadid(), 0])


cdef void incremental_task(CompiledProgram program, const double *theta, const Route *route, const Task *task,
                           Chunk chunk, double h, double *changes, double *magnitude, double *scratch,
                           Py_ssize_t *numbers) noexcept nogil:
    """A sample in which what W[i, j] is multiplied with is exactly zero sees no perturbation, and gets no row."""
    cdef Rows rows
    cdef Py_ssize_t p, n, i, j, source, factor = NOTHING
    cdef const Term *term
    lay_out(&rows, numbers, scratch, program.capacity)
    for p in range(task.begin, task.end):
        i = p // route.width
        j = p % route.width
        source = route.parameter + j // GF_PANEL * route.panel_stride + i * GF_PANEL + j % GF_PANEL
        if route.skip != NOTHING:
            term = &program.terms[route.skip]
            factor = program.steps[term.step].offset + (j if term.diagonal else i)
        for n in range(chunk.count):
            if factor != NOTHING and chunk.tape_view[n, factor] == 0.0:
                continue
            add_pair(&rows, n, i, j, source, h)
            if rows.count + 2 > program.capacity:
                run_block(program, route, &rows, theta, chunk, scratch + 2 * program.capacity, changes,
                          magnitude)
    run_block(program, route, &rows, theta, chunk, scratch + 2 * program.capacity, changes, magnitude)
