from gradcheck_fast.engine._program cimport CompiledProgram, Step

cdef void forward(CompiledProgram program, const double *theta, const double *inputs, Py_ssize_t input_stride,
                  const double *targets, Py_ssize_t target_stride, Py_ssize_t samples, double *tape, double *costs,
                  Py_ssize_t cost_stride) noexcept nogil
cdef bint included(CompiledProgram program, const Step *step, const double *sample) noexcept nogil
