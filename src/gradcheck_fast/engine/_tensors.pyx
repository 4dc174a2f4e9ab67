# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True
"""Runs programs of tensor steps: values, the changes that a change of all parameters makes, and the chain back.

The work is a list of parts, each a region of what one node writes, in waves: no part of a wave needs another one of the
same wave. All parts of a wave run in parallel. What an entry becomes does not depend on how regions are cut.
"""
from cpython.exc cimport PyErr_CheckSignals
from cython.parallel cimport prange, threadid
from libc.stdlib cimport calloc, free

import numpy as np

from gradcheck_fast.engine._program cimport NOTHING
from gradcheck_fast.kernels._kernels cimport kernels_for
from gf_kernels cimport GF_SCRATCH, gf_kernels, gf_primitive, gf_region, gf_step, gf_tensor

cpdef enum Place:            # where a tensor lies
    TAPE = 0
    DATA = 1
    TARGETS = 2
    PARAMETER = 3

cpdef enum Work:             # what a part computes
    VALUE = 0
    CHANGE = 1
    BACK = 2

cdef struct Tensor:
    Py_ssize_t place          # a Place
    Py_ssize_t per_sample     # its rows per sample; 0 if the number of rows does not depend on the samples
    Py_ssize_t rows           # else the number of its rows
    Py_ssize_t columns
    Py_ssize_t row            # doubles from a row to the next
    Py_ssize_t offset         # where its value begins
    Py_ssize_t stride         # doubles from its value to what is cached with it
    Py_ssize_t back           # where its sensitivities begin, or NOTHING
    Py_ssize_t change         # where its changes begin, or NOTHING

cdef struct TensorStep:
    Py_ssize_t primitive      # index into the kernels' table
    Py_ssize_t operation      # index into the table of its family
    Py_ssize_t output         # the tensor that it writes
    Py_ssize_t first_input    # where its inputs begin in the list of all inputs
    Py_ssize_t n_inputs
    Py_ssize_t first_integer  # where its attributes begin
    Py_ssize_t first_real

cdef struct Pull:             # what comes back to a tensor from one of its readers
    Py_ssize_t step
    Py_ssize_t input          # which input of that step the tensor is

cdef struct Part:             # a region of a tensor that is computed at once
    Py_ssize_t tensor
    Py_ssize_t step           # the step that computes it; in a chain the first of its pulls
    Py_ssize_t pulls          # in a chain the number of its pulls
    Py_ssize_t first
    Py_ssize_t last
    Py_ssize_t begin
    Py_ssize_t end

cdef struct Wave:
    Py_ssize_t first          # its parts
    Py_ssize_t last
    Py_ssize_t alone          # whether it is so little work that one thread does it

cdef Tensor _tensor
cdef TensorStep _step
cdef Pull _pull
cdef Part _part
cdef Wave _wave
TENSOR: np.dtype[np.void] = np.asarray(<Tensor[:1]>&_tensor).dtype
STEP: np.dtype[np.void] = np.asarray(<TensorStep[:1]>&_step).dtype
PULL: np.dtype[np.void] = np.asarray(<Pull[:1]>&_pull).dtype
PART: np.dtype[np.void] = np.asarray(<Part[:1]>&_part).dtype
WAVE: np.dtype[np.void] = np.asarray(<Wave[:1]>&_wave).dtype
#: The doubles of scratch memory that a thread needs, at least.
SCRATCH: int = GF_SCRATCH
#: After this many waves, none of which takes long, the executor looks whether Ctrl-C was pressed.
cdef Py_ssize_t WAVES_AT_ONCE = 4


cdef class TensorProgram:
    """The tables of a program, as C reads them: `plan` fills them."""
    cdef const gf_kernels *kernels
    cdef const Tensor[::1] tensors
    cdef const TensorStep[::1] steps
    cdef const Py_ssize_t[::1] inputs
    cdef const Py_ssize_t[::1] integers
    cdef const double[::1] reals
    cdef const Pull[::1] pulls

    def __init__(self, const Tensor[::1] tensors, const TensorStep[::1] steps, const Py_ssize_t[::1] inputs,
                 const Py_ssize_t[::1] integers, const double[::1] reals, const Pull[::1] pulls, str isa):
        self.kernels = kernels_for(isa)
        self.tensors = tensors
        self.steps = steps
        self.inputs = inputs
        self.integers = integers
        self.reals = reals
        self.pulls = pulls


cdef class Places:
    """Where the tensors of a program lie, for some samples of the data: the arrays that a run reads and writes.

    Parameters
    ----------
    program : TensorProgram
    samples : int
        How many samples are run.
    theta : ndarray of float64, shape (size,)
        The parameters.
    data, targets : ndarray of float64, shape (samples, width)
        The rows of these samples.
    tape : ndarray of float64
        The values of all steps.
    scratch : ndarray of float64, shape (threads, doubles)
    """
    cdef TensorProgram program
    cdef gf_tensor *tensors
    cdef double[:, ::1] scratch
    cdef object kept, kept_back, kept_changes  # the arrays that the pointers point into

    def __cinit__(self, TensorProgram program, *arguments):
        self.tensors = <gf_tensor *>calloc(program.tensors.shape[0], sizeof(gf_tensor))
        if self.tensors == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.tensors)

    def __init__(self, TensorProgram program, Py_ssize_t samples, const double[::1] theta, const double[:, ::1] data,
                 const double[:, ::1] targets, double[::1] tape, double[:, ::1] scratch):
        cdef Py_ssize_t k
        cdef const Tensor *plan
        cdef gf_tensor *to
        cdef double *base
        self.program = program
        self.scratch = scratch
        self.kept = (theta, data, targets, tape)
        for k in range(program.tensors.shape[0]):
            plan, to = &program.tensors[k], &self.tensors[k]
            to.rows = plan.per_sample * samples if plan.per_sample else plan.rows
            to.columns, to.stride = plan.columns, plan.stride
            to.row = plan.row
            to.scale[0] = to.scale[1] = 1.0
            base = NULL
            if plan.place == TAPE:
                base = &tape[0]
            elif plan.place == PARAMETER:
                base = <double *>&theta[0] if theta.shape[0] else NULL
            elif plan.place == DATA:
                base = <double *>&data[0, 0] if data.shape[1] else NULL
            elif targets.shape[1]:
                base = <double *>&targets[0, 0]
            to.value = base + plan.offset

    def with_sensitivities(self, double[::1] tape, double[::1] gradient=None):
        """Says where what comes back goes: for steps to the tape, for parameters to the gradient, which may be None."""
        cdef Py_ssize_t k
        cdef const Tensor *plan
        self.kept_back = tape, gradient
        for k in range(self.program.tensors.shape[0]):
            plan = &self.program.tensors[k]
            if plan.back != NOTHING and (plan.place != PARAMETER or gradient is not None):
                self.tensors[k].back = (&gradient[0] if plan.place == PARAMETER else &tape[0]) + plan.back

    def with_changes(self, double[:, ::1] tapes, const double[::1] direction, const double[::1] scales):
        """Says where changes go, and by what the parameters change: by the direction times each of the scales."""
        cdef Py_ssize_t k, s
        cdef const Tensor *plan
        self.kept_changes = tapes, direction
        for k in range(self.program.tensors.shape[0]):
            plan = &self.program.tensors[k]
            if plan.change == NOTHING:
                continue
            for s in range(scales.shape[0]):
                if plan.place == PARAMETER:
                    self.tensors[k].change[s] = <double *>&direction[0] + plan.change
                    self.tensors[k].scale[s] = scales[s]
                else:
                    self.tensors[k].change[s] = &tapes[s, 0] + plan.change

    def column(self, Py_ssize_t tensor, Py_ssize_t change=-1) -> float:
        """Returns the sum of the first column of a tensor's value (-1), or of one of its changes."""
        cdef const gf_tensor *of = &self.tensors[tensor]
        cdef const double *array = of.value if change == NOTHING else of.change[change]
        cdef double total = 0.0
        cdef Py_ssize_t i
        for i in range(of.rows):
            total += array[i * of.row]
        return total


def run(Places places, Work work, const Part[::1] parts, const Wave[::1] waves, Py_ssize_t changes, double h,
        bint accumulate, Py_ssize_t n_threads):
    """Runs all waves. With `accumulate`, what comes back to parameters is added to what is there.

    Raises
    ------
    KeyboardInterrupt
        If Ctrl-C was pressed.
    """
    cdef Py_ssize_t w
    for w in range(0, waves.shape[0], WAVES_AT_ONCE):
        with nogil:
            run_waves(places, places.program, work, parts, waves, w, min(w + WAVES_AT_ONCE, waves.shape[0]), changes, h,
                      accumulate, n_threads)
        PyErr_CheckSignals()


cdef void run_waves(Places places, TensorProgram program, Work work, const Part[::1] parts, const Wave[::1] waves,
                    Py_ssize_t begin, Py_ssize_t end, Py_ssize_t changes, double h, bint accumulate,
                    Py_ssize_t n_threads) noexcept nogil:
    cdef Py_ssize_t w, k
    for w in range(begin, end):
        if waves[w].alone or n_threads == 1:
            for k in range(waves[w].first, waves[w].last):
                run_part(places, program, work, &parts[k], changes, h, accumulate, 0)
        else:
            for k in prange(waves[w].first, waves[w].last, schedule="dynamic", num_threads=n_threads):
                run_part(places, program, work, &parts[k], changes, h, accumulate, threadid())


cdef void run_part(Places places, TensorProgram program, Work work, const Part *part, Py_ssize_t changes, double h,
                   bint accumulate, int thread) noexcept nogil:
    cdef gf_region region = gf_region(part.first, part.last, part.begin, part.end)
    cdef gf_step step
    cdef double *scratch = &places.scratch[thread, 0]
    cdef const gf_primitive *primitive
    cdef const Pull *pull
    cdef Py_ssize_t k
    if work != BACK:
        primitive = step_of(places, program, part.step, &step)
        if work == VALUE:
            primitive.value(&step, &region, scratch)
        else:
            primitive.difference(&step, &region, changes, scratch)
        return
    accumulate = accumulate and program.tensors[part.tensor].place == PARAMETER
    for k in range(part.pulls):
        pull = &program.pulls[part.step + k]
        primitive = step_of(places, program, pull.step, &step)
        primitive.back(&step, pull.input, &region, h, accumulate or k > 0, scratch)


cdef const gf_primitive *step_of(Places places, TensorProgram program, Py_ssize_t number,
                                 gf_step *step) noexcept nogil:
    """Fills in a step as kernels see it, and returns its primitive."""
    cdef const TensorStep *own = &program.steps[number]
    step.tensors = places.tensors
    step.inputs = &program.inputs[own.first_input]
    step.n_inputs = own.n_inputs
    step.output = own.output
    step.operation = own.operation
    step.integers = &program.integers[own.first_integer]
    step.reals = &program.reals[own.first_real]
    return &program.kernels.primitives[own.primitive]
