# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True
"""Writes the parameters in panels, as kernels read them."""
from cython.parallel cimport prange
from libc.string cimport memcpy

from gradcheck_fast.engine._program cimport NOTHING, CompiledProgram, ParameterBlock, Task
from gf_kernels cimport GF_PANEL


def pack(CompiledProgram program, const Task[::1] tasks, const double[::1] flat, double[::1] packed,
         Py_ssize_t n_threads):
    """Writes the flat parameter vector in panels, as `layout` plans them; a task is a range of a parameter's rows."""
    cdef Py_ssize_t k
    for k in prange(tasks.shape[0], schedule="dynamic", num_threads=n_threads, nogil=True):
        pack_task(program, &program.blocks[tasks[k].route], tasks[k].begin, tasks[k].end, &flat[0], &packed[0])


cdef void pack_task(CompiledProgram program, const ParameterBlock *block, Py_ssize_t begin, Py_ssize_t end,
                    const double *flat, double *packed) noexcept nogil:
    cdef Py_ssize_t i, panel, c, n_panels = (block.columns + GF_PANEL - 1) // GF_PANEL
    cdef Py_ssize_t split = (n_panels - 1) * GF_PANEL, rest = block.columns - split
    cdef const double *source
    cdef double *row
    for i in range(begin, end):
        source = flat + block.flat + i * block.stride
        row = packed + block.packed + i * GF_PANEL
        for panel in range(n_panels):
            memcpy(row + panel * block.panel_stride, source + panel * GF_PANEL,
                   (GF_PANEL if panel < n_panels - 1 else rest) * sizeof(double))
        if block.narrow != NOTHING:
            for c in range(rest):
                packed[block.narrow + c * block.narrow_row + i] = source[split + c]
        if block.squares != NOTHING:
            packed[block.squares + i] = program.kernels.sum_of_squares(n_panels, row, block.panel_stride)
