# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True
"""The loops of `compare`: they go once through two gradients, and make no arrays."""
import numpy as np

from cython.parallel cimport prange
from libc.float cimport DBL_MAX
from libc.math cimport INFINITY, fabs, fmax, fmin, isfinite

from gradcheck_fast.kernels._kernels cimport kernels_for
from gf_kernels cimport gf_kernels

cdef enum:
    BLOCK = 16384   # entries that are looked at as one; sums are added up block by block, in order
    SEVERAL = 8     # blocks from which on threads are worth it: they may have to wait for each other
    NUMBERS = 6     # that `compare` gives; two of them are no sums
    LARGEST = 3
    BEYOND = 4


#: Nothing is decided of an entry whose error bar is more than this part of it, and of what is typical of its array.
cdef double WIDE_BAR = 1e-2
#: Nor if the allowance for rounding is more than this part: then the dtype of the gradient is too coarse.
cdef double WIDE_ALLOWANCE = 0.3
#: Slopes that differ by no more than this part are one: the step crossed a kink, but no value lies on it.
cdef double ONE_SLOPE = 1e-9


def judge(const double[::1] analytic, const double[::1] numerical, const double[:] bars, const double[:] allowance,
          const double[:] low, const double[:] high, double rtol, double atol, double middle,
          double[::1] ratio) -> tuple[float, int, int, int, int]:
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


def glance(const double[::1] analytic, const double[::1] numerical, object ends, object relatives, str isa,
           Py_ssize_t n_threads) -> NDArray[np.float64]:
    """What a comparison needs of each array, which ends at ends[k], as a row of NUMBERS; see ``csrc/comparison.h``.

    `ends` and `relatives` are lists; relatives[k] is the relative tolerance of the array. The result does not depend on
    the number of threads.
    """
    cdef const gf_kernels *kernels = kernels_for(isa)
    cdef Py_ssize_t k, b, c, begin = 0, end, blocks, threads
    cdef double relative
    cdef double[:, ::1] block = np.empty((numerical.shape[0] // BLOCK + 1, NUMBERS))
    found = np.zeros((len(ends), NUMBERS))
    cdef double[:, ::1] out = found
    for k in range(len(ends)):
        end, relative = ends[k], relatives[k]
        blocks = (end - begin + BLOCK - 1) // BLOCK
        threads = n_threads if blocks >= SEVERAL else 1
        for b in prange(blocks, nogil=True, num_threads=threads):
            kernels.compare(min(BLOCK, end - begin - b * BLOCK), &analytic[begin + b * BLOCK],
                            &numerical[begin + b * BLOCK], relative, &block[b, 0])
        out[k, BEYOND] = -INFINITY
        for b in range(blocks):
            for c in range(NUMBERS):
                out[k, c] = fmax(out[k, c], block[b, c]) if c == LARGEST or c == BEYOND else out[k, c] + block[b, c]
        begin = end
    return found
