from gradcheck_fast.engine._program cimport CompiledProgram, Pairs, Route

cdef void propagate(CompiledProgram program, const Route *route, Pairs *pairs, const double *theta,
                    const double *targets, Py_ssize_t target_stride, double *scratch) noexcept nogil
