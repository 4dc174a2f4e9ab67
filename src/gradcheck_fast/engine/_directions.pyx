# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True
"""Fills random directions, and measures and moves vectors of the size of the parameters, with several threads."""
from cython.parallel cimport prange
from libc.math cimport sqrt
from libc.stdint cimport uint64_t

import numpy as np

from gradcheck_fast.kernels._kernels cimport kernels_for
from gf_kernels cimport GF_PANEL, gf_kernels

cdef enum:
    BLOCK = 8192    # numbers that are worked on at once; sums are added up block by block, in order
    SEVERAL = 16    # blocks from which on threads are worth it: they may have to wait for each other
#: The standard deviation of the sum of two uniform signed 32-bit integers.
cdef double DEVIATION = 4294967296.0 / sqrt(6.0)


def draw(Py_ssize_t seed, Py_ssize_t number, const Py_ssize_t[::1] ends, const double[::1] scales,
         const double[::1] weights, double[::1] out, str isa, Py_ssize_t n_threads) -> float:
    """Fills `out` with the random direction `number` of a seed, and returns the sum of weights[i] * out[i].

    The entries of array k, up to ends[k], have the standard deviation scales[k]. The result does not depend on the
    number of threads.
    """
    cdef const gf_kernels *kernels = kernels_for(isa)
    cdef Py_ssize_t k, b, begin = 0, blocks, end, threads
    cdef double scale, sign = -1.0 if number % 2 else 1.0
    cdef double[::1] sums = np.zeros(out.shape[0] // BLOCK + 1)
    cdef uint64_t stream = (<uint64_t>seed << 20) + <uint64_t>(number // 2)  # each pair of directions has one
    cdef double total = 0.0
    for k in range(ends.shape[0]):
        end = ends[k]
        scale = scales[k] / DEVIATION
        blocks = (end - begin + BLOCK - 1) // BLOCK
        threads = n_threads if blocks >= SEVERAL else 1
        for b in prange(blocks, nogil=True, num_threads=threads):
            sums[b] = kernels.draw(begin + b * BLOCK, min(begin + (b + 1) * BLOCK, end), stream, sign, scale,
                                   &weights[begin + b * BLOCK], &out[begin + b * BLOCK])
        for b in range(blocks):
            total += sums[b]
        begin = end
    return total


def norms(const double[::1] vector, const Py_ssize_t[::1] ends, str isa, Py_ssize_t n_threads) -> NDArray[np.float64]:
    """Returns the Euclidean norm of each array of a flat vector; infinite or 0 if squares over- or underflow."""
    cdef const gf_kernels *kernels = kernels_for(isa)
    cdef Py_ssize_t k, b, i, begin = 0, blocks, last, threads
    cdef double[::1] sums = np.zeros(vector.shape[0] // BLOCK + 1)
    found = np.zeros(ends.shape[0])
    cdef double[::1] out = found
    for k in range(ends.shape[0]):
        blocks = (ends[k] - begin) // BLOCK
        threads = n_threads if blocks >= SEVERAL else 1
        for b in prange(blocks, nogil=True, num_threads=threads):
            sums[b] = kernels.sum_of_squares(BLOCK // GF_PANEL, &vector[begin + b * BLOCK], GF_PANEL)
        for b in range(blocks):
            out[k] += sums[b]
        last = begin + blocks * BLOCK
        blocks = (ends[k] - last) // GF_PANEL
        if blocks:
            out[k] += kernels.sum_of_squares(blocks, &vector[last], GF_PANEL)
        for i in range(last + blocks * GF_PANEL, ends[k]):
            out[k] += vector[i] * vector[i]
        out[k] = sqrt(out[k])
        begin = ends[k]
    return found


def add_scaled(const double[::1] x, double scale, const double[::1] y, double[::1] out, str isa,
               Py_ssize_t n_threads) -> None:
    """Computes out = x + scale * y."""
    cdef const gf_kernels *kernels = kernels_for(isa)
    cdef Py_ssize_t b, n = out.shape[0], blocks = (n + BLOCK - 1) // BLOCK
    cdef Py_ssize_t threads = n_threads if blocks >= SEVERAL else 1
    for b in prange(blocks, nogil=True, num_threads=threads):
        kernels.add_scaled(min(BLOCK, n - b * BLOCK), &x[b * BLOCK], scale, &y[b * BLOCK], &out[b * BLOCK])
