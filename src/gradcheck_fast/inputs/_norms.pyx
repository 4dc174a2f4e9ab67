# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True
"""Sizes of arrays, of which each loop reads every entry once and makes no arrays."""
import numpy as np

from libc.math cimport fabs, fmax, isfinite, sqrt


def largest(const double[::1] x) -> tuple[float, bool]:
    """The largest size of a finite entry, and whether all entries are finite."""
    cdef Py_ssize_t k
    cdef double most = 0.0
    cdef bint all_finite = True
    with nogil:
        for k in range(x.shape[0]):
            if isfinite(x[k]):
                most = fmax(most, fabs(x[k]))
            else:
                all_finite = False
    return most, all_finite


def all_finite(const double[::1] x) -> bool:
    """Whether every entry is finite."""
    cdef Py_ssize_t k, j
    cdef double[16] sums
    for j in range(16):
        sums[j] = 0.0
    with nogil:
        for k in range(0, x.shape[0] - 15, 16):
            for j in range(16):
                sums[j] += x[k + j] * 0.0  # NaN if it is not finite
        for k in range(x.shape[0] - x.shape[0] % 16, x.shape[0]):
            sums[0] += x[k] * 0.0
        for j in range(1, 16):
            sums[0] += sums[j]
    return sums[0] == 0.0


def any_finite(const double[::1] x) -> bool:
    """Whether an entry is finite; the first that is ends the search."""
    cdef Py_ssize_t k
    for k in range(x.shape[0]):
        if isfinite(x[k]):
            return True
    return False


def squares(const double[::1] a, const double[::1] b, double scale) -> tuple[float, float]:
    """The sums of the squares of (a - b) / scale and of (a + b) / scale."""
    cdef Py_ssize_t k
    cdef double difference = 0.0, total = 0.0, x, y
    with nogil:
        for k in range(a.shape[0]):
            x = a[k] / scale
            y = b[k] / scale
            difference += (x - y) * (x - y)
            total += (x + y) * (x + y)
    return difference, total


def root_mean_square(const double[::1] x) -> float:
    """Of the finite entries; 0 if there are none."""
    cdef Py_ssize_t k, count = 0
    cdef double size = largest(x)[0], total = 0.0
    if size == 0.0:
        return 0.0
    with nogil:
        for k in range(x.shape[0]):
            if isfinite(x[k]):
                total += (x[k] / size) * (x[k] / size)
                count += 1
    return size * sqrt(total / count)


def row_and_column_sizes(const double[:, ::1] table, double[::1] rows, double[::1] columns):
    """rows[i] * columns[j]: the root mean squares of the finite entries of row i and column j, over that of all."""
    cdef Py_ssize_t i, j, count, counted = 0
    cdef double size = 0.0, total = 0.0, square
    counts = np.zeros(table.shape[1], np.intp)
    cdef Py_ssize_t[::1] in_column = counts
    columns[:] = 0.0
    with nogil:
        for i in range(table.shape[0]):
            for j in range(table.shape[1]):
                if isfinite(table[i, j]):
                    size = fmax(size, fabs(table[i, j]))
        for i in range(table.shape[0]):
            rows[i] = 0.0
            count = 0
            for j in range(table.shape[1]):
                if size > 0.0 and isfinite(table[i, j]):
                    square = (table[i, j] / size) * (table[i, j] / size)
                    rows[i] += square
                    columns[j] += square
                    in_column[j] += 1
                    count += 1
            total += rows[i]
            counted += count
            rows[i] = size * sqrt(rows[i] / max(count, 1))
        for j in range(table.shape[1]):
            columns[j] = sqrt(columns[j] / max(in_column[j], 1)) / sqrt(total / counted) if total > 0.0 else 0.0
