# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# not freethreading_compatible: what is not thread-safe is called with the interpreter lock held
"""Calls compiled functions: the loop over perturbed parameters. And what a capsule holds."""
import numpy as np

from cpython.pycapsule cimport (
    PyCapsule_CheckExact, PyCapsule_GetContext, PyCapsule_GetName, PyCapsule_GetPointer)
from cython.parallel cimport prange, threadid
from libc.stdint cimport intptr_t
from libc.string cimport memcmp, memcpy

cdef extern from "Python.h":
    void *PyErr_Occurred() noexcept nogil

cdef extern from "gradcheck_fast.h":
    ctypedef double gradcheck_fast_loss(double *theta, intptr_t n, void *user_data) noexcept nogil

cdef enum:
    APART = 16              # doubles between the copies of two threads: two cache lines, which are fetched together
    BLOCKS_PER_THREAD = 4   # so that a thread that is held up does not hold up the others


def cost(size_t function, size_t user_data, double[::1] theta, bint threadsafe) -> float:
    """The cost at `theta`, into which the function may write."""
    cdef double value
    cdef double *own = &theta[0] if theta.shape[0] > 0 else NULL
    if threadsafe:
        with nogil:
            value = (<gradcheck_fast_loss *> function)(own, theta.shape[0], <void *> user_data)
    else:
        value = (<gradcheck_fast_loss *> function)(own, theta.shape[0], <void *> user_data)
    raise_what_the_function_raised()
    return value


def costs(size_t function, size_t user_data, const double[::1] theta, const Py_ssize_t[::1] entries,
          const double[::1] values, double[::1] found, Py_ssize_t n_threads, bint threadsafe) -> int:
    """found[k] = function(theta where theta[entries[k]] = values[k]).

    If the function is thread-safe, on `n_threads` threads; else on this one, which keeps the interpreter lock. Returns
    the first entry that the function was found to write into, or -1.
    """
    cdef Py_ssize_t n = theta.shape[0], total = entries.shape[0]
    if total == 0:
        return -1
    n_threads = min(n_threads, total) if threadsafe else 1
    cdef Py_ssize_t blocks = min(total, BLOCKS_PER_THREAD * n_threads) if n_threads > 1 else 1, block
    cdef Py_ssize_t stride = n + APART
    cdef double[::1] copies = np.empty(n_threads * stride)
    cdef Py_ssize_t[::1] written = np.full(blocks, n)
    cdef gradcheck_fast_loss *loss = <gradcheck_fast_loss *> function
    if threadsafe:
        for block in prange(blocks, schedule="dynamic", num_threads=n_threads, nogil=True):
            written[block] = run(loss, <void *> user_data, &theta[0], n, &copies[threadid() * stride], &entries[0],
                                 &values[0], block * total // blocks, (block + 1) * total // blocks, &found[0], False)
    else:
        written[0] = run(loss, <void *> user_data, &theta[0], n, &copies[0], &entries[0], &values[0], 0, total,
                         &found[0], True)
    raise_what_the_function_raised()
    first = int(np.min(written))
    return first if first < n else -1


cdef Py_ssize_t run(gradcheck_fast_loss *loss, void *user_data, const double *theta, Py_ssize_t n, double *own,
                    const Py_ssize_t *entries, const double *values, Py_ssize_t begin, Py_ssize_t end, double *found,
                    bint has_interpreter) noexcept nogil:
    """Some evaluations, with `own` for a copy of theta. Returns the first entry that was written into, or n."""
    cdef Py_ssize_t k, entry
    memcpy(own, theta, n * sizeof(double))
    for k in range(begin, end):
        entry = entries[k]
        own[entry] = values[k]
        found[k] = loss(own, n, user_data)
        if own[entry] != values[k]:
            return entry
        own[entry] = theta[entry]
        if has_interpreter and PyErr_Occurred() != NULL:
            return n
    # Once, not after each call: a loss may take no longer than this comparison.
    if memcmp(own, theta, n * sizeof(double)) != 0:
        for k in range(n):
            if memcmp(&own[k], &theta[k], sizeof(double)) != 0:
                return k
    return n


cdef int raise_what_the_function_raised() except? -1:
    """A Cython function may have raised: its exception is then waiting in this thread."""
    return -1


def is_capsule(x) -> bool:
    """Whether `x` is a PyCapsule."""
    return PyCapsule_CheckExact(x)


def read_capsule(capsule) -> tuple[str | None, int, int]:
    """The name of a capsule (None if it has none), its pointer and its context."""
    cdef const char *name = PyCapsule_GetName(capsule)
    pointer = <size_t> PyCapsule_GetPointer(capsule, name)
    return None if name == NULL else name.decode(errors="replace"), pointer, <size_t> PyCapsule_GetContext(capsule)
