# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True
"""Lists the C kernels and their instruction sets, and runs single kernels for the diagnosis, tests and benchmarks."""
from cython.parallel cimport prange
from libc.math cimport erf as erf_of, erfc as erfc_of
from gf_kernels cimport (
    GF_BIAS, GF_DIAGONAL, GF_MATRIX, GF_PANEL, gf_cost, gf_cost_place, gf_difference, gf_elementwise,
    gf_instruction_sets, gf_kernels, gf_kernels_for, gf_pairs, gf_pairwise)

import numpy as np
from typing import NamedTuple

cdef extern from *:
    """
    #ifdef _OPENMP
    #define GF_HAS_OPENMP 1
    #else
    #define GF_HAS_OPENMP 0
    #endif
    """
    const bint GF_HAS_OPENMP

#: The number of columns of a panel.
PANEL: int = GF_PANEL
#: Whether the kernels were built with OpenMP, so that they can run on several threads.
has_openmp: bool = bool(GF_HAS_OPENMP)


cdef const gf_kernels *kernels_for(str isa) except NULL:
    cdef const gf_kernels *kernels = gf_kernels_for(isa.encode())
    if kernels == NULL:
        raise ValueError(f"instruction set {isa!r} is not available here: {', '.join(instruction_sets())} are")
    return kernels


def instruction_sets() -> tuple[str, ...]:
    """Returns the instruction sets that the kernels were built for and that this CPU has, best first."""
    cdef Py_ssize_t k = 0
    found = []
    while gf_instruction_sets[k] != NULL:
        if gf_kernels_for(gf_instruction_sets[k]) != NULL:
            found.append(gf_instruction_sets[k].decode())
        k += 1
    return tuple(found)


class Elementwise(NamedTuple):
    """An elementwise operation: its place in the table, how many arrays it caches, and the z where its slope jumps."""

    number: int
    cached: int
    kinks: tuple[float, ...]


class Cost(NamedTuple):
    """A cost: its place in the table, whether it is a sum over entries, how many arrays it caches, and whether its
    slope jumps where an output is its target."""

    number: int
    separable: bool
    cached: int
    kink: bool


# The names and properties of the kernels are the same for every instruction set, so any of them will do.
cdef const gf_kernels *_ANY = gf_kernels_for(b"baseline")

#: The functions of one number, by name.
ELEMENTWISE: dict[str, Elementwise] = {
    _ANY.elementwise[k].name.decode(): Elementwise(
        k, _ANY.elementwise[k].cached, tuple([_ANY.elementwise[k].kink[i] for i in range(_ANY.elementwise[k].kinks)]))
    for k in range(_ANY.n_elementwise)}
#: The place in the table of each operation on two steps, by name.
PAIRWISE: dict[str, int] = {_ANY.pairwise[k].name.decode(): k for k in range(_ANY.n_pairwise)}
#: The costs, by name.
COSTS: dict[str, Cost] = {
    _ANY.costs[k].name.decode(): Cost(k, bool(_ANY.costs[k].separable), _ANY.costs[k].cached, bool(_ANY.costs[k].kink))
    for k in range(_ANY.n_costs)}

#: The kinds of terms of an affine step, as its kernels read them.
TERMS: dict[str, int] = {"bias": GF_BIAS, "matrix": GF_MATRIX, "diagonal": GF_DIAGONAL}

#: The place in the table of each primitive over tensors, and whether its regions must have all columns, by name.
PRIMITIVES: dict[str, tuple[int, bool]] = {
    _ANY.primitives[k].name.decode(): (k, bool(_ANY.primitives[k].whole_rows)) for k in range(_ANY.n_primitives)}


def elementary(str name, const double[::1] x, str isa) -> NDArray[np.float64]:
    """Returns exp, expm1, log1p or log of each entry of x, as the kernels compute it inline."""
    cdef const gf_kernels *kernels = kernels_for(isa)
    cdef Py_ssize_t k
    result = np.empty(x.shape[0])
    cdef double[::1] y = result
    for k in range(kernels.n_functions):
        if kernels.functions[k].name.decode() == name:
            kernels.functions[k].apply(x.shape[0], &x[0], &y[0])
            return result
    raise ValueError(f"the kernels have no function {name!r}")


cdef object of_each(double (*function)(double) noexcept nogil, object z):
    """Returns a function of each entry of an array, which may have any shape."""
    at = np.asarray(z, dtype=np.float64)
    found = np.empty(at.shape)
    cdef const double[::1] x = at.reshape(-1)
    cdef double[::1] y = found.reshape(-1)
    cdef Py_ssize_t k
    with nogil:
        for k in range(x.shape[0]):
            y[k] = function(x[k])
    return found


def erf(object z) -> NDArray[np.float64]:
    """Returns the error function of each entry of an array, which is that of the C library."""
    return of_each(erf_of, z)


def erfc(object z) -> NDArray[np.float64]:
    """Returns the complementary error function of each entry of an array, which is that of the C library."""
    return of_each(erfc_of, z)


def elementwise(str name, const double[::1] z, const double[::1] d,
                str isa) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns ``f(z)`` and the exact difference ``f(z + d) - f(z)`` of one operation, each of shape (n,).

    The kernels process sixteen numbers at a time, and choose a series by the size of the d among them.

    Parameters
    ----------
    name : str
        One of `ELEMENTWISE`.
    z, d : ndarray of float64, shape (n,)
    isa : str

    Raises
    ------
    ValueError
        If z and d differ in length.
    """
    cdef const gf_kernels *kernels = kernels_for(isa)
    cdef const gf_elementwise *operation = &kernels.elementwise[<Py_ssize_t>ELEMENTWISE[name].number]
    cdef Py_ssize_t n = z.shape[0], panels = (n + GF_PANEL - 1) // GF_PANEL
    if d.shape[0] != n:
        raise ValueError(f"z has {n} entries and d has {d.shape[0]}; expected as many")
    if n == 0:
        return np.empty(0), np.empty(0)
    # each panel is one sample, with z, y and what the operation caches on its tape, and has two rows of differences
    tape = np.zeros((panels, (2 + operation.cached) * GF_PANEL))
    rows = np.zeros((2 * panels, GF_PANEL))
    padded = np.zeros((2, panels * GF_PANEL))
    padded[:, :n] = z, d
    tape[:, :GF_PANEL] = padded[0].reshape(panels, -1)
    rows[::2] = rows[1::2] = padded[1].reshape(panels, -1)
    cdef double[:, ::1] samples = tape
    cdef double[:, ::1] differences = rows
    cdef const Py_ssize_t[::1] order = np.arange(panels)
    cdef Py_ssize_t k
    for k in range(panels):
        operation.value(GF_PANEL, &samples[k, 0], &samples[k, GF_PANEL], GF_PANEL)
    cdef gf_pairs pairs = gf_pairs(panels, panels, 2, &order[0], &order[0], &samples[0, 0], samples.shape[1], NULL, 0)
    cdef gf_difference difference = gf_difference(&differences[0, 0], GF_PANEL, NULL, 0, NULL)
    operation.difference(&pairs, 0, panels, 1, 0, GF_PANEL, GF_PANEL, &difference, &differences[0, 0], GF_PANEL)
    return tape[:, GF_PANEL:2 * GF_PANEL].reshape(-1)[:n], rows[::2].reshape(-1)[:n]


def pairwise(str name, const double[::1] f, const double[::1] g, str isa, const double[::1] df=None,
             const double[::1] dg=None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the value of one operation on two vectors, and its exact difference when they change by df and dg.

    All arrays have the shape (n,). If df or dg is None, its vector does not change.
    """
    cdef const gf_kernels *kernels = kernels_for(isa)
    cdef const gf_pairwise *operation = &kernels.pairwise[<Py_ssize_t>PAIRWISE[name]]
    cdef Py_ssize_t n = f.shape[0]
    values, changes = np.zeros(n), np.zeros(n)
    if n == 0:
        return values, changes
    cdef double[::1] value = values, change = changes
    operation.value(n, &f[0], &g[0], &value[0])
    if df is not None or dg is not None:
        operation.difference(n, &f[0], &g[0], NULL if df is None else &df[0], NULL if dg is None else &dg[0],
                             &change[0])
    return values, changes


def cost(str name, const double[:, ::1] x, const double[:, ::1] targets, double constant, const double[:, ::1] d,
         str isa) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the cost of each row of x, and the exact difference of that when the row changes by its row of d.

    Parameters
    ----------
    name : str
        One of `COSTS`.
    x, d : ndarray of float64, shape (rows, width)
    targets : ndarray of float64, shape (rows, width), or (rows, 1) for classes
    constant : float
        The constant of the cost, such as Huber's delta.
    isa : str

    Returns
    -------
    value, difference : ndarray of float64, shape (rows,)
    """
    cdef const gf_kernels *kernels = kernels_for(isa)
    cdef const gf_cost *cost = &kernels.costs[<Py_ssize_t>COSTS[name].number]
    cdef Py_ssize_t k, rows = x.shape[0], width = x.shape[1], padded = (width + GF_PANEL - 1) // GF_PANEL * GF_PANEL
    values, change = np.zeros(rows), np.zeros(2 * rows)
    if rows == 0:
        return values, values
    # each row is one sample, with x and what the cost caches on its tape; targets are readable to the end of the panel
    tape, y = np.zeros((rows, (1 + cost.cached) * padded)), np.zeros((rows, padded))
    both = np.zeros((rows, 2, padded))  # d and zeros
    tape[:, :width], y[:, :targets.shape[1]], both[:, 0, :width] = x, targets, d
    cdef double[:, ::1] samples = tape, known = y
    cdef double[:, :, ::1] differences = both
    cdef double[::1] value = values, changes = change
    cdef const Py_ssize_t[::1] order = np.arange(rows)
    for k in range(rows):
        value[k] = cost.value(width, &samples[k, 0], &known[k, 0], constant, &samples[k, 0] + padded, padded)
    cdef gf_pairs pairs = gf_pairs(rows, rows, 2, &order[0], &order[0], &samples[0, 0], samples.shape[1], NULL, 0)
    cdef gf_cost_place place = gf_cost_place(width, 0, padded, padded, -1, &known[0, 0], padded, constant, 1.0)
    cost.difference(&pairs, &place, &differences[0, 0, 0], padded, &changes[0])
    return values, change[:rows]


def matmul(const double[:, :] a, const double[:, :, :] b, double[:, :] c, str isa):
    """Computes c = a b on one thread; b, of shape (panels, inner, 16), holds panels of 16 columns."""
    cdef const gf_kernels *kernels = kernels_for(isa)
    with nogil:
        kernels.matmul(a.shape[0], a.shape[1], b.shape[0], &a[0, 0], a.strides[0] // 8, 1, &b[0, 0, 0],
                       b.strides[0] // 8, &c[0, 0], c.strides[0] // 8, GF_PANEL, False)


def matmul_narrow(const double[:, :] a, const double[:, :] b, double[:, :] c, str isa):
    """Computes c = a b^T on one thread; c has 16 columns, b fewer rows; the inner dimension is a multiple of 16."""
    cdef const gf_kernels *kernels = kernels_for(isa)
    with nogil:
        kernels.matmul_narrow(a.shape[0], a.shape[1], b.shape[0], &a[0, 0], a.strides[0] // 8, &b[0, 0],
                              b.strides[0] // 8, &c[0, 0], c.strides[0] // 8, False)


def multiply_add(Py_ssize_t n, str isa, int n_threads) -> float:
    """Runs chains of n multiply-adds on each thread, in registers alone, and returns the operations, two for each."""
    cdef const gf_kernels *kernels = kernels_for(isa)
    counts = np.zeros((n_threads, 2))
    cdef double[:, ::1] view = counts
    cdef Py_ssize_t k
    for k in prange(n_threads, num_threads=n_threads, nogil=True, schedule="static"):
        view[k, 0] = kernels.multiply_add(n, &view[k, 1])
    return counts[:, 0].sum()
