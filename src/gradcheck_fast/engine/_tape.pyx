# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True
"""Fills the tape, which holds the values of all steps for a chunk of the samples, and the slopes at these values."""
from cython.parallel cimport prange
from libc.math cimport fabs
from libc.string cimport memset

from gradcheck_fast.engine._program cimport COST, ELEMENTWISE, CompiledProgram, Step
from gradcheck_fast.engine._values cimport forward, included
from gf_kernels cimport gf_cost, gf_elementwise


cdef class Chunk:
    """Some samples of the data, and their tape at the unperturbed parameters."""

    def __init__(self, const double[:, ::1] inputs, const double[:, ::1] targets, double[:, ::1] tape,
                 Py_ssize_t begin, Py_ssize_t count):
        self.inputs = inputs
        self.targets = targets
        self.tape = tape.base
        self.tape_view = tape
        self.begin = begin
        self.count = count


def fill_tape(CompiledProgram program, const double[::1] theta, Chunk chunk, double[::1] costs,
              Py_ssize_t block, Py_ssize_t n_threads):
    """Runs the forward pass of a chunk, `block` samples to a task, and adds each sample's cost to `costs`."""
    cdef Py_ssize_t k, first, count, n_blocks = (chunk.count + block - 1) // block
    for k in prange(n_blocks, schedule="dynamic", num_threads=n_threads, nogil=True):
        first = k * block
        count = min(block, chunk.count - first)
        forward(
            program, &theta[0], row_pointer(chunk.inputs, chunk.begin + first), chunk.inputs.shape[1],
            row_pointer(chunk.targets, chunk.begin + first), chunk.targets.shape[1], count,
            &chunk.tape_view[first, 0], &costs[first], 1)


def fill_slopes(CompiledProgram program, Chunk chunk, double h, double distance, double[:, ::1] slopes,
                unsigned char[::1] near, Py_ssize_t n_threads):
    """Writes the slopes of all elementwise steps and costs at the values of a chunk: differences with the step h.

    Of a sample in which a value lies within that distance of a kink `near` becomes 1, and its slopes are not complete.
    """
    cdef Py_ssize_t n
    for n in prange(chunk.count, schedule="static", num_threads=n_threads, nogil=True):
        near[n] = fill_row(program, &chunk.tape_view[n, 0], row_pointer(chunk.targets, chunk.begin + n), h,
                           distance, &slopes[n, 0])


cdef bint fill_row(CompiledProgram program, const double *tape, const double *targets, double h,
                   double distance, double *slopes) noexcept nogil:
    cdef Py_ssize_t k, c
    cdef const Step *step
    cdef const double *x
    cdef double *out
    cdef const gf_elementwise *operation
    cdef const gf_cost *cost
    for k in range(program.steps.shape[0]):
        step = &program.steps[k]
        if step.kind != ELEMENTWISE and step.kind != COST:
            continue
        x = tape + program.steps[step.first].offset
        out = slopes + step.slopes
        if step.kind == ELEMENTWISE:
            operation = &program.kernels.elementwise[step.operation]
            for c in range(operation.kinks):
                if nears(step.width, x, NULL, operation.kink[c], distance):
                    return True
            operation.slopes(step.padded, x, tape + step.offset, step.padded, h, out)
            continue
        memset(out, 0, step.padded * sizeof(double))
        if not included(program, step, tape):
            continue
        cost = &program.kernels.costs[step.operation]
        if cost.kink and nears(step.width, x, targets + step.second, 0.0, distance):
            return True
        cost.slopes(step.width, x, targets + step.second, step.constant, tape + step.offset, step.padded, h, out)
        for c in range(step.width):
            out[c] *= step.scale
    return False


cdef bint nears(Py_ssize_t width, const double *x, const double *target, double kink, double distance) noexcept nogil:
    cdef Py_ssize_t c
    for c in range(width):
        if fabs(x[c] - (kink if target == NULL else target[c])) <= distance:
            return True
    return False
