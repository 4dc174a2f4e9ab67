cdef extern from "kernels.h" nogil:
    enum:
        GF_PANEL

    ctypedef struct gf_pairs:
        Py_ssize_t count
        Py_ssize_t capacity
        const Py_ssize_t *sample
        const Py_ssize_t *column
        const double *tape
        Py_ssize_t tape_stride

    ctypedef struct gf_difference:
        const double *rows
        Py_ssize_t row
        const double *scale
        Py_ssize_t panel
        const double *squares

    ctypedef struct gf_function:
        const char *name
        void (*apply)(Py_ssize_t n, const double *x, double *y) noexcept nogil

    ctypedef struct gf_elementwise:
        const char *name
        Py_ssize_t cached
        Py_ssize_t kinks
        const double *kink
        void (*value)(Py_ssize_t n, const double *z, double *y, Py_ssize_t stride) noexcept nogil
        void (*difference)(const gf_pairs *pairs, Py_ssize_t begin, Py_ssize_t end, Py_ssize_t panels, Py_ssize_t z,
                           Py_ssize_t y, Py_ssize_t stride, const gf_difference *d, double *out,
                           Py_ssize_t row) noexcept nogil
        void (*column_difference)(const gf_pairs *pairs, Py_ssize_t z, Py_ssize_t y, Py_ssize_t stride,
                                  const double *d, double *out) noexcept nogil

    ctypedef struct gf_pairwise:
        const char *name
        void (*value)(Py_ssize_t n, const double *f, const double *g, double *out) noexcept nogil
        void (*difference)(Py_ssize_t n, const double *f, const double *g, const double *df, const double *dg,
                           double *out) noexcept nogil

    ctypedef struct gf_cost_place:
        Py_ssize_t n
        Py_ssize_t x
        Py_ssize_t cache
        Py_ssize_t stride
        Py_ssize_t mask
        const double *targets
        Py_ssize_t target_stride
        double constant
        double scale

    ctypedef struct gf_cost:
        const char *name
        bint separable
        Py_ssize_t cached
        bint kink
        double (*value)(Py_ssize_t n, const double *x, const double *target, double constant, double *cache,
                        Py_ssize_t stride) noexcept nogil
        void (*difference)(const gf_pairs *pairs, const gf_cost_place *place, const double *d, Py_ssize_t row,
                           double *change) noexcept nogil

    ctypedef struct gf_kernels:
        const char *isa
        Py_ssize_t n_functions
        const gf_function *functions
        Py_ssize_t n_elementwise
        const gf_elementwise *elementwise
        Py_ssize_t n_pairwise
        const gf_pairwise *pairwise
        Py_ssize_t n_costs
        const gf_cost *costs
        void (*matmul)(Py_ssize_t rows, Py_ssize_t inner, Py_ssize_t panels, const double *a, Py_ssize_t a_row,
                       Py_ssize_t a_column, const double *b, Py_ssize_t b_panel, double *c, Py_ssize_t c_row,
                       Py_ssize_t c_panel, bint accumulate) noexcept nogil
        void (*matmul_narrow)(Py_ssize_t rows, Py_ssize_t inner, Py_ssize_t columns, const double *a,
                              Py_ssize_t a_row, const double *b, Py_ssize_t b_row, double *c, Py_ssize_t c_row,
                              bint accumulate) noexcept nogil
        void (*elementwise_narrow)(const gf_elementwise *operation, const gf_pairs *pairs, Py_ssize_t inner,
                                   Py_ssize_t z, Py_ssize_t y, Py_ssize_t stride, const gf_difference *d, double *rows,
                                   Py_ssize_t row, Py_ssize_t columns, const double *b, Py_ssize_t b_row, double *c,
                                   Py_ssize_t c_row) noexcept nogil
        double (*sum_of_squares)(Py_ssize_t panels, const double *row, Py_ssize_t panel) noexcept nogil
        void (*select_rows)(const gf_pairs *pairs, Py_ssize_t panels, const gf_difference *d, double *c,
                            Py_ssize_t c_row, bint accumulate) noexcept nogil
        void (*count_kinks)(const gf_elementwise *operation, const gf_pairs *pairs, Py_ssize_t n, Py_ssize_t z,
                            const gf_difference *d, Py_ssize_t *crossed) noexcept nogil
        void (*count_column_kinks)(const gf_elementwise *operation, const gf_pairs *pairs, Py_ssize_t z,
                                   const double *d, Py_ssize_t *crossed) noexcept nogil
        void (*count_cost_kinks)(const gf_pairs *pairs, const gf_cost_place *place, const double *d, Py_ssize_t row,
                                 Py_ssize_t *crossed) noexcept nogil
        void (*softmax_value)(Py_ssize_t n, const double *z, double *p) noexcept nogil
        void (*softmax_difference)(Py_ssize_t n, const double *p, const double *d, double *out) noexcept nogil
        double (*multiply_add)(Py_ssize_t n, double *result) noexcept nogil

    const gf_kernels *gf_kernels_for(const char *isa)
    const char **gf_instruction_sets

cdef const gf_kernels *kernels_for(str isa) except NULL
