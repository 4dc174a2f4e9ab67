# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True
"""The loop of `compare`: it goes once through two gradients, and makes no arrays."""
from libc.float cimport DBL_MAX
from libc.math cimport INFINITY, fabs, fmax, fmin, isfinite


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
