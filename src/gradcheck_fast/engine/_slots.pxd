from gradcheck_fast.engine._program cimport CompiledProgram, Pairs, Step
from gf_kernels cimport gf_difference

cdef Py_ssize_t state_of(CompiledProgram program, Py_ssize_t step, const Pairs *pairs) noexcept nogil
cdef double *slot_of(CompiledProgram program, const Step *step, double *slots) noexcept nogil
cdef gf_difference difference_of(CompiledProgram program, const Step *step, const Pairs *pairs, const double *theta,
                                 double *slots, double *work) noexcept nogil
cdef void expand(CompiledProgram program, const Step *step, Pairs *pairs, const double *theta, double *slots,
                 double *work) noexcept nogil
cdef void drop_zeros(CompiledProgram program, Pairs *pairs, double *d) noexcept nogil
