from gf_kernels cimport gf_kernels, gf_pairs

# The tables of a program: the dtypes by which Python fills them are made of these structs, in _program.pyx.

cpdef enum Kind:              # of a step, as this executor knows them
    INPUT = 0
    AFFINE = 1
    ELEMENTWISE = 2
    SOFTMAX = 3
    PAIRWISE = 4
    WHERE = 5
    COST = 6

cdef struct Step:
    Py_ssize_t kind           # a Kind
    Py_ssize_t operation      # index into the kernels' table of its kind
    Py_ssize_t first          # its first input, a step; for an input step the first column of X
    Py_ssize_t second         # its second input; for a cost the first column of the targets
    Py_ssize_t width
    Py_ssize_t padded         # width rounded up to whole panels
    Py_ssize_t row            # doubles from one row of a block to the next, where its difference is dense
    Py_ssize_t offset         # of its value on the tape; what it caches follows, padded apart
    Py_ssize_t first_term     # affine: its terms
    Py_ssize_t n_terms
    Py_ssize_t needed         # whether a cost depends on it
    Py_ssize_t slot           # where its difference goes: the number of the slot,
    Py_ssize_t slot_offset    # and its place, in doubles per row of a block
    Py_ssize_t first_ends     # whether it is the last to read the difference of its first input
    Py_ssize_t second_ends
    Py_ssize_t mask           # where, cost: the input step that says in which samples; NOTHING: in all
    double constant           # of a cost; affine: is added
    double scale              # of a cost: what the reduction multiplies each sample by

cdef struct Term:             # one summand of an affine step
    Py_ssize_t step           # what the parameter multiplies; NOTHING for a bias
    Py_ssize_t parameter      # a ParameterBlock
    Py_ssize_t diagonal       # a vector, multiplied entry by entry
    Py_ssize_t ends           # whether this affine step is the last to read the difference of that step

cdef struct ParameterBlock:   # a parameter: a block of a matrix, in the flat vector and in the packed one
    Py_ssize_t flat           # of its first entry
    Py_ssize_t stride         # entries from one row to the next
    Py_ssize_t rows
    Py_ssize_t columns
    Py_ssize_t packed         # of its first panel
    Py_ssize_t panel_stride
    Py_ssize_t narrow         # of its last panel once more, transposed; or NOTHING
    Py_ssize_t narrow_row
    Py_ssize_t squares        # of the sum of squares of each row; or NOTHING

cdef struct Use:              # an affine step in which something is perturbed
    Py_ssize_t step
    Py_ssize_t term           # the perturbed parameter's term, or UNIT: the output itself

cdef struct Route:            # a source of perturbations: a parameter, or the units of an affine step
    Py_ssize_t first_use
    Py_ssize_t n_uses
    Py_ssize_t parameter      # a ParameterBlock, or NOTHING
    Py_ssize_t skip           # the term whose input's zeros make a perturbation vanish, or NOTHING
    Py_ssize_t sensitivities  # units: where their sensitivities begin, per sample of a chunk

cdef struct Task:             # a range of the units or parameters of one route, for a range of samples; or, to pack
    Py_ssize_t route          # or gather, a range of a parameter's rows: then `route` is its number
    Py_ssize_t begin
    Py_ssize_t end
    Py_ssize_t first
    Py_ssize_t last

cdef struct Pairs:            # a block of perturbations by +h and by -h, each as one sample sees it
    gf_pairs base             # what kernels need; its pointers are the first two of these
    Py_ssize_t *sample
    Py_ssize_t *column        # j of a perturbed W[i, j]
    Py_ssize_t *input         # i
    Py_ssize_t *source        # where the result belongs
    Py_ssize_t *state         # of each slot: a State,
    Py_ssize_t *term          # and for SELECTED the term
    Py_ssize_t *crossed       # how many entries are on different sides of a kink for +h and -h; NULL: is not counted
    double h
    double *change            # of the cost, the result: of all +h, then, capacity apart, of all -h

cdef enum State:              # what a slot holds
    ZERO = 0                  # nothing: there is no difference
    COLUMN = 1                # a number per row, in the pair's column: of all +h, then, capacity apart, of all -h
    SELECTED = 2              # a number per row as in COLUMN: it multiplies the row `column` of a term's matrix
    DENSE = 3                 # a vector per row: +h and -h of the first pair, of the second, ...

cpdef enum:
    NOTHING = -1              # in place of a number: there is none
    UNIT = -2                 # in place of a term: the output of the step itself is perturbed
    PAIR_WORK = 2             # doubles per pair that propagate() needs for itself


cdef class CompiledProgram:
    cdef const gf_kernels *kernels
    cdef const Step[::1] steps
    cdef const Term[::1] terms
    cdef const ParameterBlock[::1] blocks
    cdef const Route[::1] routes
    cdef const Use[::1] uses
    cdef readonly Py_ssize_t tape_stride
    cdef readonly Py_ssize_t n_slots
    # how many pairs a block has room for, in whole panels, and how many it holds at most
    cdef readonly Py_ssize_t capacity, pairs
