# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True
"""Moves the differences of many perturbations at once: each is a row of numbers, all in the same places."""
from libc.string cimport memset

from gradcheck_fast.kernels import _kernels
from gradcheck_fast.kernels._kernels cimport kernels_for
from gf_kernels cimport gf_elementwise

cdef enum:
    AT_ONCE = 512    # entries for which the value, and what the kernels keep with it, are in the cache


cdef class Rows:
    """The exact differences of a function of one number, by its kernel, for rows of changes of the same numbers."""
    cdef const gf_elementwise *kernel

    def __init__(self, str name, str isa):
        self.kernel = &kernels_for(isa).elementwise[<Py_ssize_t>_kernels.ELEMENTWISE[name].number]

    def change(self, const double[::1] z, const double[:, ::1] d, double[:, ::1] out) -> None:
        """Writes into each row of `out` by how much the function changes when z changes by that row of `d`."""
        cdef double y[3 * AT_ONCE]
        cdef Py_ssize_t block, begin, n, r
        with nogil:
            for block in range((z.shape[0] + AT_ONCE - 1) // AT_ONCE):
                begin = block * AT_ONCE
                n = min(<Py_ssize_t>AT_ONCE, z.shape[0] - begin)
                self.kernel.value(n, &z[begin], y, AT_ONCE)
                for r in range(d.shape[0]):
                    self.kernel.change(n, &z[begin], y, AT_ONCE, &d[r, begin], &out[r, begin])


def take(const double[:, ::1] values, const Py_ssize_t[::1] places, double[:, ::1] out) -> None:
    """Writes into each row of `out` the numbers of that row of `values` at these places, and 0 where a place is -1."""
    cdef Py_ssize_t r, k, count = places.shape[0]
    cdef const double *row
    with nogil:
        for r in range(values.shape[0]):
            row = &values[r, 0]
            for k in range(count):
                out[r, k] = row[places[k]] if places[k] >= 0 else 0.0


def add_up(const double[:, ::1] values, const Py_ssize_t[::1] places, double[:, ::1] out) -> None:
    """Adds up, in each row, the numbers that have the same place in the row of `out`."""
    cdef Py_ssize_t r, k, count = places.shape[0]
    cdef double *row
    with nogil:
        for r in range(values.shape[0]):
            row = &out[r, 0]
            memset(row, 0, out.shape[1] * sizeof(double))
            for k in range(count):
                row[places[k]] += values[r, k]


def largest(const double[:, ::1] d, const double[::1] gaps, const double[::1] lost, double sign, Py_ssize_t length,
            double[:, ::1] out) -> None:
    """Writes the largest of sign d - gap - lost of each `length` numbers of a row, times sign; NaN if one is NaN."""
    cdef Py_ssize_t r, k, begin
    cdef double best, other
    with nogil:
        for r in range(d.shape[0]):
            for k in range(out.shape[1]):
                best = sign * d[r, k * length] - gaps[k * length] - lost[k * length]
                for begin in range(k * length + 1, (k + 1) * length):
                    other = sign * d[r, begin] - gaps[begin] - lost[begin]
                    if not other <= best and best == best:
                        best = other
                out[r, k] = sign * best
