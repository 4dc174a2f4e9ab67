# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True
"""Defines a program's tables, as the compiled modules read them, and the dtypes with which Python fills them."""
import numpy as np

from gradcheck_fast.kernels._kernels cimport kernels_for

cdef Step _step
cdef Term _term
cdef ParameterBlock _block
cdef Route _route
cdef Use _use
cdef Task _task
STEP: np.dtype[np.void] = np.asarray(<Step[:1]>&_step).dtype
TERM: np.dtype[np.void] = np.asarray(<Term[:1]>&_term).dtype
BLOCK: np.dtype[np.void] = np.asarray(<ParameterBlock[:1]>&_block).dtype
ROUTE: np.dtype[np.void] = np.asarray(<Route[:1]>&_route).dtype
USE: np.dtype[np.void] = np.asarray(<Use[:1]>&_use).dtype
TASK: np.dtype[np.void] = np.asarray(<Task[:1]>&_task).dtype


cdef class CompiledProgram:
    """A program's tables, as C reads them.

    Parameters
    ----------
    steps, terms, blocks, routes, uses : structured ndarray
        As `gradcheck_fast.engine.tables`, `layout` and `routes` fill them.
    tape_stride : int
        The number of doubles that one sample takes on the tape.
    slope_stride : int
        The number of doubles that one sample takes in the rows of slopes.
    n_slots : int
        The number of slots for differences.
    capacity, pairs : int
        How many pairs a block has room for, in whole panels, and how many it holds at most.
    rows : int
        How many rows a pair has: 2, or 1 if only its odd half is computed.
    isa : str
        The build of the kernels to use; one of `_kernels.instruction_sets()`.
    """

    def __init__(self, const Step[::1] steps, const Term[::1] terms, const ParameterBlock[::1] blocks,
                 const Route[::1] routes, const Use[::1] uses, Py_ssize_t tape_stride,
                 Py_ssize_t slope_stride, Py_ssize_t n_slots, Py_ssize_t capacity, Py_ssize_t pairs, Py_ssize_t rows,
                 str isa):
        self.kernels = kernels_for(isa)
        self.steps = steps
        self.terms = terms
        self.blocks = blocks
        self.routes = routes
        self.uses = uses
        self.tape_stride = tape_stride
        self.slope_stride = slope_stride
        self.n_slots = n_slots
        self.capacity = capacity
        self.pairs = pairs
        self.rows = rows
