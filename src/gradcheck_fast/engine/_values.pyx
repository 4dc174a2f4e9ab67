# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True
"""Computes the values of a program's steps, for some samples."""
from libc.string cimport memcpy, memset

from gradcheck_fast.engine._program cimport (
    AFFINE, COST, ELEMENTWISE, INPUT, NOTHING, PAIRWISE, SOFTMAX, WHERE, CompiledProgram, ParameterBlock, Step, Term)
from gf_kernels cimport GF_PANEL, gf_cost

#: The kinds of steps that `forward` knows.
KINDS: frozenset[int] = frozenset((INPUT, AFFINE, ELEMENTWISE, SOFTMAX, PAIRWISE, WHERE, COST))


cdef void forward(CompiledProgram program, const double *theta, const double *inputs, Py_ssize_t input_stride,
                  const double *targets, Py_ssize_t target_stride, Py_ssize_t samples, double *tape, double *costs,
                  Py_ssize_t cost_stride) noexcept nogil:
    """Fills the tape of some samples, and adds the cost of each to its place in `costs`."""
    cdef Py_ssize_t k, n, stride = program.tape_stride
    cdef const Step *step
    cdef const Step *steps = &program.steps[0]
    cdef const double *first
    cdef const double *second
    cdef const gf_cost *cost
    cdef double *out
    for k in range(program.steps.shape[0]):
        step = &steps[k]
        if step.kind == AFFINE:
            affine_values(program, step, theta, samples, tape)
            continue
        for n in range(samples):
            out = tape + n * stride + step.offset
            if step.kind == INPUT:
                memcpy(out, inputs + n * input_stride + step.first, step.width * sizeof(double))
                continue
            first = tape + n * stride + steps[step.first].offset
            if step.kind == ELEMENTWISE:
                program.kernels.elementwise[step.operation].value(step.padded, first, out, step.padded)
            elif step.kind == SOFTMAX:
                program.kernels.softmax_value(step.width, first, out)
            elif step.kind == PAIRWISE:
                second = tape + n * stride + steps[step.second].offset
                program.kernels.pairwise[step.operation].value(step.width, first, second, out)
            elif step.kind == WHERE:
                second = tape + n * stride + steps[step.second].offset
                memcpy(out, first if included(program, step, tape + n * stride) else second,
                       step.width * sizeof(double))
            elif step.kind == COST:
                cost = &program.kernels.costs[step.operation]
                if included(program, step, tape + n * stride):
                    costs[n * cost_stride] += step.scale * cost.value(
                        step.width, first, targets + n * target_stride + step.second, step.constant, out,
                        step.padded)


cdef bint included(CompiledProgram program, const Step *step, const double *sample) noexcept nogil:
    """Whether the step's mask counts this sample, of which `sample` is the row of the tape."""
    return step.mask == NOTHING or sample[program.steps[step.mask].offset] != 0.0


cdef void affine_values(CompiledProgram program, const Step *step, const double *theta, Py_ssize_t samples,
                        double *tape) noexcept nogil:
    """Computes out = constant + the sum of the terms b, a W and a * w.

    Without terms the tape is not written to before the constant is added: it is still zero there.
    """
    cdef Py_ssize_t t, n, c, stride = program.tape_stride
    cdef const Term *term
    cdef const ParameterBlock *block
    cdef const double *parameter
    cdef const double *a
    cdef double *out
    cdef bint accumulate = False
    for t in range(step.first_term, step.first_term + step.n_terms):
        term = &program.terms[t]
        if term.step == NOTHING or term.diagonal:
            parameter = theta + program.blocks[term.parameter].packed
            for n in range(samples):
                out = tape + n * stride + step.offset
                if not accumulate:
                    memset(out, 0, step.padded * sizeof(double))
                if term.diagonal:
                    a = tape + n * stride + program.steps[term.step].offset
                    for c in range(step.width):
                        out[c] += a[c] * parameter[c]
                else:
                    for c in range(step.width):
                        out[c] += parameter[c]
        else:
            block = &program.blocks[term.parameter]
            program.kernels.matmul(samples, block.rows, step.padded // GF_PANEL,
                                   tape + program.steps[term.step].offset, stride, 1,
                                   theta + block.packed, block.panel_stride,
                                   tape + step.offset, stride, GF_PANEL, accumulate)
        accumulate = True
    if step.constant != 0.0:
        for n in range(samples):
            out = tape + n * stride + step.offset
            for c in range(step.width):
                out[c] += step.constant
