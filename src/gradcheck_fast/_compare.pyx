# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True
"""The loops of `compare`: each goes once through two gradients, and makes no arrays."""
import numpy as np

from libc.float cimport DBL_MAX
from libc.math cimport INFINITY, fabs, fmax, fmin, isfinite, sqrt


#: An error bar of more than this part of an entry, and of what is typical of its array, does not let decide.
#: So is an allowance for rounding: then the dtype of the gradient is too coarse.
cdef double WIDE_BAR = 1e-2, WIDE_ALLOWANCE = 0.3
#: Slopes that differ by no more than this part are one: the step crossed a kink, but no value lies on it.
cdef double ONE_SLOPE = 1e-9


def largest(const double[::1] x):
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


def squares(const double[::1] a, const double[::1] b, double scale):
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


def root_mean_square(const double[::1] x):
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


def judge(const double[::1] analytic, const double[::1] numerical, const double[:] bars, const double[:] allowance,
          const double[:] low, const double[:] high, double rtol, double atol, double middle, double[::1] ratio):
    """ratio[k] = distance of a from [n + low, n + high] over the tolerance atol + rtol max(|a|, |n|) + allowance.

    Infinite if a is not finite, 1 if n is not, and the largest number there is if nothing is tolerated. Returns the
    largest |a - n|, NaN if one is, and how many entries are: wrong (a ratio above 1); right at a kink (low and high
    differ); undecided, for the bar or the allowance is too wide for n and for `middle`, the size of the array, or n, or
    the slopes at a kink, are not finite; and of a size that is not more than their bar.
    """
    cdef Py_ssize_t k, wrong = 0, at_kink = 0, undecided = 0, small = 0
    cdef double a, n, error, beyond, allowed, size, most = 0.0
    cdef bint several
    with nogil:
        for k in range(analytic.shape[0]):
            a = analytic[k]
            n = numerical[k]
            error = a - n
            beyond = fmax(fmax(error - high[k], low[k] - error), 0.0)
            allowed = atol + rtol * fmax(fabs(a), fabs(n)) + allowance[k]
            if not isfinite(a):
                ratio[k] = INFINITY
            elif not isfinite(n):
                ratio[k] = 1.0
            elif beyond == 0.0:
                ratio[k] = 0.0
            else:
                ratio[k] = fmin(beyond / allowed, DBL_MAX) if allowed > 0.0 else DBL_MAX
            size = fmax(middle, fabs(n))
            several = high[k] - low[k] > ONE_SLOPE * fmax(fabs(n), fmax(fabs(low[k]), fabs(high[k])))
            if ratio[k] > 1.0 and (not isfinite(a) or isfinite(low[k]) and isfinite(high[k])):
                wrong += 1
            elif not isfinite(n) or not isfinite(low[k]) or not isfinite(high[k]):
                ratio[k] = 1.0
                undecided += 1
            elif several:
                at_kink += 1
            elif bars[k] > WIDE_BAR * size or allowance[k] > WIDE_ALLOWANCE * size:
                undecided += 1
            small += fabs(n) <= bars[k] and not several
            error = fabs(error)
            most = error if error > most or error != error else most
    return most, wrong, at_kink, undecided, small
