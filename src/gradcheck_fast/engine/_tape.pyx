# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True
"""Fills the tape, which holds the values of all steps for a chunk of the samples."""
from cython.parallel cimport prange

from gradcheck_fast.engine._program cimport CompiledProgram
from gradcheck_fast.engine._values cimport forward


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
