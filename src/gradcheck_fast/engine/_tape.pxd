cdef class Chunk:
    cdef const double[:, ::1] inputs
    cdef const double[:, ::1] targets
    cdef double[:, ::1] tape_view
    cdef readonly object tape  # is an NDArray[np.float64]
    cdef readonly Py_ssize_t begin, count


cdef inline const double *row_pointer(const double[:, ::1] array, Py_ssize_t row) noexcept nogil:
    return &array[row, 0] if array.shape[1] > 0 else NULL
