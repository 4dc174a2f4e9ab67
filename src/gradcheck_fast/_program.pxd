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


# These four mirror the dtypes in program.py, field for field.
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
    Py_ssize_t mask           # choose, cost: the input step that says in which samples; NOTHING: in all
    double constant           # of a cost; affine: is added; add: the second input is multiplied by it
    double scale              # of a cost: what the reduction multiplies each sample by

cdef struct Term:             # one summand of an affine step
    Py_ssize_t step           # what the parameter multiplies; NOTHING for a bias
    Py_ssize_t parameter      # offset in the packed parameters
    Py_ssize_t rows
    Py_ssize_t panel_stride
    Py_ssize_t diagonal       # a vector, multiplied entry by entry

cdef struct Instruction:      # one step of a route
    Py_ssize_t step           # -1: expand a column into a dense difference
    Py_ssize_t dense          # 0: its difference lies in one column of each row
    Py_ssize_t slot           # where its difference goes, in doubles per row of the block
    Py_ssize_t width          # of a row of that slot
    Py_ssize_t first_link
    Py_ssize_t n_links
    Py_ssize_t inject         # a perturbed Term, or UNIT, or NOTHING
    Py_ssize_t inject_link    # the link through which the injected term's own input changes, or NOTHING
    Py_ssize_t compact        # drop the rows that have become zero

cdef struct Link:             # one changed input of an instruction
    Py_ssize_t which          # the affine term, or 0 / 1 for the first / second input
    Py_ssize_t dense
    Py_ssize_t slot
    Py_ssize_t width

cdef struct Route:            # everything downstream of one source of perturbations
    Py_ssize_t first_instruction
    Py_ssize_t n_instructions
    Py_ssize_t capacity       # rows in a block
    Py_ssize_t parameter      # what is perturbed: a packed parameter array (offset), or -1 for the units of a step
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
    double *h                 # the perturbation, with its sign
    double *change            # of the cost: the result

cdef enum:
    NOTHING = -1
    UNIT = -2
    WORK_ROWS = 4             # doubles per row that propagate() needs for itself


cdef class CompiledProgram:
    cdef const gf_kernels *kernels
    cdef const Step[::1] steps
    cdef const Term[::1] terms
    cdef const Route[::1] routes
    cdef const Instruction[::1] instructions
    cdef const Link[::1] links
    cdef readonly Py_ssize_t tape_stride

    cdef double forward(self, const double *theta, const double *inputs, Py_ssize_t input_stride,
                        const double *targets, Py_ssize_t target_stride, Py_ssize_t samples,
                        double *tape) noexcept nogil
    cdef bint included(self, const Step *step, const double *sample) noexcept nogil
    cdef void affine_values(self, const Step *step, const double *theta, Py_ssize_t samples,
                            double *tape) noexcept nogil
    cdef void propagate(self, const Route *route, Rows *rows, const double *theta, const double *tape,
                        const double *targets, Py_ssize_t target_stride, double *scratch) noexcept nogil
    cdef void affine_difference(self, const Instruction *instruction, const Rows *rows, const double *theta,
                                const double *tape, double *scratch, Py_ssize_t capacity) noexcept nogil
    cdef void diagonal_difference(self, const Step *step, const Instruction *instruction, const Rows *rows,
                                  const Link *link, const double *parameter, const double *d, double *out,
                                  bint accumulate) noexcept nogil
    cdef void elementwise_difference(self, const Step *step, const Instruction *instruction, const Rows *rows,
                                     const double *tape, double *scratch, Py_ssize_t capacity,
                                     double *work) noexcept nogil
    cdef void pairwise_difference(self, const Step *step, const Instruction *instruction, const Rows *rows,
                                  const double *tape, double *scratch, Py_ssize_t capacity) noexcept nogil
    cdef void cost_difference(self, const Step *step, const Instruction *instruction, Rows *rows,
                              const double *tape, const double *targets, Py_ssize_t target_stride,
                              double *scratch, Py_ssize_t capacity) noexcept nogil
