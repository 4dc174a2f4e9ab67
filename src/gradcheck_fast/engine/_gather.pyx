# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True
"""Makes the gradient by each parameter of the sensitivities of the units that it acts on."""
from cython.parallel cimport prange, threadid
from libc.string cimport memcpy, memset

from gradcheck_fast.engine._program cimport NOTHING, CompiledProgram, ParameterBlock, Task, Term
from gradcheck_fast.engine._tape cimport Chunk
from gf_kernels cimport GF_PANEL


cdef class Uses:
    """The terms in which parameters are used, and the tasks of gathering.

    tasks[k] is a range of a parameter's rows. The terms uses[first_use[parameter]:first_use[parameter + 1]] multiply by
    the parameter. The sensitivities of the term's step begin at unit_offset[term] times the samples of a full chunk.
    """
    cdef const Py_ssize_t[::1] unit_offset, uses, first_use
    cdef const Task[::1] tasks

    def __init__(self, const Py_ssize_t[::1] unit_offset, const Py_ssize_t[::1] uses,
                 const Py_ssize_t[::1] first_use, const Task[::1] tasks):
        self.unit_offset = unit_offset
        self.uses = uses
        self.first_use = first_use
        self.tasks = tasks


def gather(CompiledProgram program, Chunk chunk, const double[::1] sensitivities, Uses uses, double[::1] gradient,
           bint accumulate, double[:, ::1] scratch, Py_ssize_t n_threads):
    """Writes each parameter's gradient: the sum over its uses of (what it is multiplied with)^T (sensitivities).

    `sensitivities` are what `_loops.units` has found. With `accumulate` the gradient is added to what is there.
    `gradient` is a flat vector, and each row of `scratch` has room for the padded rows of one thread's task.
    """
    cdef Py_ssize_t k
    for k in prange(uses.tasks.shape[0], schedule="dynamic", num_threads=n_threads, nogil=True):
        gather_task(program, uses, &uses.tasks[k], chunk, &sensitivities[0], &gradient[0], accumulate,
                    &scratch[threadid(), 0])


cdef void gather_task(CompiledProgram program, Uses uses, const Task *task, Chunk chunk, const double *sensitivities,
                      double *gradient, bint accumulate, double *scratch) noexcept nogil:
    cdef const ParameterBlock *block = &program.blocks[task.route]
    cdef Py_ssize_t k, c, i, term, panels = (block.columns + GF_PANEL - 1) // GF_PANEL
    cdef Py_ssize_t rows = task.end - task.begin, row = panels * GF_PANEL + 8  # 8: rows spread over the cache
    cdef double *target
    memset(scratch, 0, rows * row * sizeof(double))
    for k in range(uses.first_use[task.route], uses.first_use[task.route + 1]):
        term = uses.uses[k]
        gather_term(program, &program.terms[term], task.begin, rows, panels, chunk,
                    sensitivities + uses.unit_offset[term] * chunk.tape_view.shape[0], scratch, row)
    for i in range(rows):
        target = gradient + block.flat + (task.begin + i) * block.stride
        if accumulate:
            for c in range(block.columns):
                target[c] += scratch[i * row + c]
        else:
            memcpy(target, scratch + i * row, block.columns * sizeof(double))


cdef void gather_term(CompiledProgram program, const Term *term, Py_ssize_t begin, Py_ssize_t rows,
                      Py_ssize_t panels, Chunk chunk, const double *s, double *out, Py_ssize_t row) noexcept nogil:
    """Computes out += (what the term multiplies)[:, begin:begin + rows]^T s, with the sensitivities s in panels."""
    cdef Py_ssize_t n, c, samples = chunk.tape_view.shape[0]
    cdef const double *a = NULL
    if term.step != NOTHING:
        a = &chunk.tape_view[0, program.steps[term.step].offset]
    if term.step != NOTHING and not term.diagonal:
        program.kernels.matmul(rows, chunk.count, panels, a + begin, 1, program.tape_stride, s, samples * GF_PANEL, out,
                               row, GF_PANEL, True)
        return
    for n in range(chunk.count):
        for c in range(panels * GF_PANEL):
            out[c] += (a[n * program.tape_stride + c] if term.diagonal else 1.0) * s[
                (c // GF_PANEL * samples + n) * GF_PANEL + c % GF_PANEL]
