# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True
"""Runs the kernels of functions of one number over whole arrays, as rules of their primitives."""
import numpy as np

from gradcheck_fast.kernels import _kernels
from gradcheck_fast.kernels._kernels cimport kernels_for
from gf_kernels cimport gf_elementwise

cdef enum:
    AT_ONCE = 512    # entries for which the value, and what the kernels keep with it, are in the cache


cdef class Entrywise:
    """The rules `difference` and `back` of a function of one number, by its kernel; h is the step of its slopes.

    The value, which the kernels start from, is computed along with what they keep with it.
    """
    cdef const gf_elementwise *kernel
    cdef double h

    def __init__(self, str name, double h, str isa):
        self.kernel = &kernels_for(isa).elementwise[<Py_ssize_t>_kernels.ELEMENTWISE[name].number]
        self.h = h

    def difference(self, object x, object d) -> NDArray[np.float64]:
        """Returns the exact difference when the only input x changes by d."""
        at, change = x[0], d[0]
        found = np.empty(at.shape)
        if change is None:
            found.fill(0.0)
        elif at.size:
            self.fill(at.ravel(), change.ravel(), found.ravel(), False)
        return found

    def back(self, object x, Py_ssize_t k, object up) -> NDArray[np.float64]:
        """Returns `up` times the slope."""
        at = x[0]
        found = np.empty(at.shape)
        if at.size:
            self.fill(at.ravel(), up.ravel(), found.ravel(), True)
        return found

    cdef int fill(self, const double[::1] z, const double[::1] other, double[::1] out, bint back) except -1:
        """Fills `out` with the exact difference for the changes `other`, or with the slopes times `other`."""
        cdef double y[3 * AT_ONCE]
        cdef double slope[AT_ONCE]
        cdef Py_ssize_t block, begin, i, n
        with nogil:
            for block in range((z.shape[0] + AT_ONCE - 1) // AT_ONCE):
                begin = block * AT_ONCE
                n = min(<Py_ssize_t>AT_ONCE, z.shape[0] - begin)
                self.kernel.value(n, &z[begin], y, AT_ONCE)
                if back:
                    self.kernel.slopes(n, &z[begin], y, AT_ONCE, self.h, slope)
                    for i in range(n):
                        out[begin + i] = other[begin + i] * slope[i]
                else:
                    self.kernel.change(n, &z[begin], y, AT_ONCE, &other[begin], &out[begin])
        return 0
