cdef extern from "kernels.h" nogil:
    enum:
        GF_PANEL

    ctypedef struct gf_elementwise:
        const char *name
        Py_ssize_t cached
        void (*value)(Py_ssize_t n, const double *z, double *y, Py_ssize_t stride) noexcept nogil
        void (*difference)(Py_ssize_t n, const double *z, const double *y, Py_ssize_t stride, const double *d,
                           double *out) noexcept nogil

    ctypedef struct gf_cost:
        const char *name
        bint separable
        bint cached
        double (*value)(Py_ssize_t n, const double *x, const double *target, double constant,
                        double *cache) noexcept nogil
        double (*difference)(Py_ssize_t n, const double *x, const double *target, double constant,
                             const double *cache, const double *d) noexcept nogil

    ctypedef struct gf_kernels:
        const char *isa
        Py_ssize_t n_elementwise
        const gf_elementwise *elementwise
        Py_ssize_t n_costs
        const gf_cost *costs
        void (*matmul)(Py_ssize_t rows, Py_ssize_t inner, Py_ssize_t panels, const double *a, Py_ssize_t a_row,
                       Py_ssize_t a_column, const double *b, Py_ssize_t b_panel, double *c, Py_ssize_t c_row,
                       Py_ssize_t c_panel, bint accumulate) noexcept nogil
        void (*select_rows)(Py_ssize_t rows, Py_ssize_t panels, const double *d, const Py_ssize_t *column,
                            const double *b, Py_ssize_t b_panel, double *c, Py_ssize_t c_row,
                            bint accumulate) noexcept nogil
        void (*softmax_value)(Py_ssize_t n, const double *z, double *p) noexcept nogil
        void (*softmax_difference)(Py_ssize_t n, const double *p, const double *d, double *out) noexcept nogil

    const gf_kernels *gf_kernels_for(const char *isa)
    const char **gf_instruction_sets


# These four mirror the dtypes in program.py and routes.py, field for field.
cdef struct Step:
    Py_ssize_t kind           # a Kind
    Py_ssize_t operation      # index into the kernels' elementwise or cost table
    Py_ssize_t first          # its first input, a step; for an input step the first column of X
    Py_ssize_t second         # its second input (product, add); for a cost the first column of the targets
    Py_ssize_t width
    Py_ssize_t padded         # width rounded up to whole panels
    Py_ssize_t offset         # of its value on the tape; what it caches follows, padded apart
    Py_ssize_t first_term     # affine: its terms
    Py_ssize_t n_terms
    Py_ssize_t needed         # whether a cost depends on it
    Py_ssize_t slot           # where its difference goes: the number of the slot,
    Py_ssize_t slot_offset    # and its place, in doubles per row of a block
    Py_ssize_t first_ends     # whether it is the last to read the difference of its first input
    Py_ssize_t second_ends
    Py_ssize_t mask           # choose, cost: the input step that says in which samples; NOTHING: in all
    double constant           # of a cost; affine: is added; add: the second input is multiplied by it
    double scale              # of a cost: what the reduction multiplies each sample by

cdef struct Term:             # one summand of an affine step
    Py_ssize_t step           # what the parameter multiplies; NOTHING for a bias
    Py_ssize_t parameter      # offset in the packed parameters
    Py_ssize_t rows
    Py_ssize_t panel_stride
    Py_ssize_t diagonal       # a vector, multiplied entry by entry
    Py_ssize_t ends           # whether this affine step is the last to read the difference of that step

cdef struct Use:              # an affine step in which something is perturbed
    Py_ssize_t step
    Py_ssize_t term           # the perturbed parameter's term, or UNIT: the output itself

cdef struct Route:            # a source of perturbations: a parameter array, or the units of an affine step
    Py_ssize_t first_use
    Py_ssize_t n_uses
    Py_ssize_t parameter      # offset of the packed array, or NOTHING
    Py_ssize_t panel_stride
    Py_ssize_t width          # columns of that array, or units of that step
    Py_ssize_t skip           # the term whose input's zeros make a perturbation vanish, or NOTHING
    Py_ssize_t sensitivities  # units: where their sensitivities begin, per sample of a chunk

cdef struct Rows:             # a block of perturbations, each as one sample sees it
    Py_ssize_t count
    Py_ssize_t *sample        # row of the tape
    Py_ssize_t *input         # i of a perturbed W[i, j]
    Py_ssize_t *column        # j
    Py_ssize_t *source        # where the result belongs
    Py_ssize_t *state         # of each slot: a State
    double *h                 # the perturbation, with its sign
    double *change            # of the cost: the result

cdef enum State:              # what a slot holds
    ZERO = 0                  # nothing: there is no difference
    COLUMN = 1                # one number per row: the difference lies in the row's column
    DENSE = 2                 # a vector per row

cdef enum:
    NOTHING = -1
    UNIT = -2
    WORK_ROWS = 4             # doubles per row that propagate() needs for itself


cdef class CompiledProgram:
    cdef const gf_kernels *kernels
    cdef const Step[::1] steps
    cdef const Term[::1] terms
    cdef const Route[::1] routes
    cdef const Use[::1] uses
    cdef readonly Py_ssize_t tape_stride
    cdef readonly Py_ssize_t n_slots
    cdef readonly Py_ssize_t capacity

    cdef double forward(self, const double *theta, const double *inputs, Py_ssize_t input_stride,
                        const double *targets, Py_ssize_t target_stride, Py_ssize_t samples,
                        double *tape) noexcept nogil
    cdef bint included(self, const Step *step, const double *sample) noexcept nogil
    cdef void affine_values(self, const Step *step, const double *theta, Py_ssize_t samples,
                            double *tape) noexcept nogil
    cdef void propagate(self, const Route *route, Rows *rows, const double *theta, const double *tape,
                        const double *targets, Py_ssize_t target_stride, double *scratch) noexcept nogil
    cdef Py_ssize_t state_of(self, Py_ssize_t step, const Rows *rows) noexcept nogil
    cdef double *difference_of(self, Py_ssize_t step, double *slots) noexcept nogil
    cdef void expand(self, Py_ssize_t step, Rows *rows, double *slots) noexcept nogil
    cdef Py_ssize_t affine_difference(self, const Step *step, Py_ssize_t inject, const Rows *rows,
                                      const double *theta, const double *tape, double *slots) noexcept nogil
    cdef void inject_perturbation(self, const Step *step, Py_ssize_t inject, const Rows *rows, const double *tape,
                                  double *slots, bint dense, bint accumulate) noexcept nogil
    cdef void diagonal_difference(self, const Step *step, const Term *term, const Rows *rows, const double *theta,
                                  double *slots, bint dense, bint accumulate) noexcept nogil
    cdef void elementwise_difference(self, const Step *step, const Rows *rows, const double *tape, double *slots,
                                     bint dense, double *work) noexcept nogil
    cdef void pairwise_difference(self, const Step *step, const Rows *rows, const double *tape, double *slots,
                                  bint dense) noexcept nogil
    cdef void cost_difference(self, const Step *step, Rows *rows, const double *tape, const double *targets,
                              Py_ssize_t target_stride, double *slots) noexcept nogil
