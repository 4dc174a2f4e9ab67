from gf_kernels cimport gf_kernels, gf_pairs

# The tables of a program. The dtypes with which Python fills them are made of these structs, in _program.pyx.

cpdef enum Kind:              # the kinds of steps that this executor knows
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
    Py_ssize_t offset         # where its value begins on the tape; the vectors that it caches follow, each padded
    Py_ssize_t slopes         # where its slopes begin in a row of slopes, or NOTHING
    Py_ssize_t first_term     # where the terms of an affine step begin
    Py_ssize_t n_terms
    Py_ssize_t needed         # whether a cost depends on it
    Py_ssize_t slot           # the number of the slot of its difference
    Py_ssize_t slot_offset    # where that slot begins, in doubles per row of a block
    Py_ssize_t first_ends     # whether it is the last to read the difference of its first input
    Py_ssize_t second_ends
    Py_ssize_t mask           # the input step that says in which samples a cost or choice counts, or NOTHING
    double constant           # the constant of a cost, or what an affine step adds
    double scale              # what the reduction multiplies the cost of each sample by

cdef struct Term:             # one summand of an affine step
    Py_ssize_t step           # what the parameter multiplies; NOTHING for a bias
    Py_ssize_t parameter      # a ParameterBlock
    Py_ssize_t diagonal       # whether the parameter is a vector that multiplies entry by entry
    Py_ssize_t ends           # whether this affine step is the last to read the difference of that step

cdef struct ParameterBlock:   # a parameter: a block of a matrix, in the flat vector and in the packed one
    Py_ssize_t flat           # where its first entry lies in the flat vector
    Py_ssize_t stride         # entries from one row to the next there
    Py_ssize_t rows
    Py_ssize_t columns
    Py_ssize_t packed         # where its first panel begins in the packed vector
    Py_ssize_t panel_stride   # doubles from one panel to the next
    Py_ssize_t narrow         # where the transposed copy of its last panel begins, or NOTHING
    Py_ssize_t narrow_row     # doubles from one row of that to the next
    Py_ssize_t squares        # where the sums of squares of its rows begin, or NOTHING

cdef struct Use:              # an affine step in which something is perturbed
    Py_ssize_t step
    Py_ssize_t term           # the perturbed parameter's term, or UNIT if the output itself is perturbed

cdef struct Route:            # a source of perturbations: a parameter, or the units of an affine step
    Py_ssize_t first_use
    Py_ssize_t n_uses
    Py_ssize_t parameter      # a ParameterBlock, or NOTHING
    Py_ssize_t skip           # the term whose input's zeros make a perturbation vanish, or NOTHING
    Py_ssize_t sensitivities  # where the sensitivities of its units begin, divided by the samples of a full chunk

cdef struct Task:             # a range of the units or parameters of one route, for a range of samples; or, to pack
    Py_ssize_t route          # or gather, a range of a parameter's rows: then `route` is its number
    Py_ssize_t begin
    Py_ssize_t end
    Py_ssize_t first
    Py_ssize_t last

cdef struct Pairs:            # a block of perturbations by +h and by -h, each as one sample sees it; see gf_pairs.rows
    gf_pairs base             # what kernels need; it has the same pointers to sample and column
    Py_ssize_t *sample        # the sample of each pair
    Py_ssize_t *column        # j of a perturbed W[i, j]
    Py_ssize_t *input         # i of a perturbed W[i, j]
    Py_ssize_t *source        # where the result belongs
    Py_ssize_t *state         # the State of each slot
    Py_ssize_t *term          # the term of each slot that is SELECTED
    Py_ssize_t *crossed       # how many entries are on different sides of a kink for +h and -h; NULL if not counted
    double h
    double *change            # the result, the changes of the cost: for all +h, and `capacity` further for all -h

cdef enum State:              # what a slot holds
    ZERO = 0                  # nothing, because there is no difference
    COLUMN = 1                # one number in the pair's column: for all +h, and `capacity` further for all -h
    SELECTED = 2              # numbers as in COLUMN, each of which multiplies the row `column` of a term's matrix
    DENSE = 3                 # a vector for each row: for +h and -h of the first pair, then of the second, ...

cpdef enum:
    NOTHING = -1              # stands in place of a number where there is none
    UNIT = -2                 # stands in place of a term if the output of the step itself is perturbed
    PAIR_WORK = 2             # propagate() needs this many doubles per pair for itself


cdef class CompiledProgram:
    cdef const gf_kernels *kernels
    cdef const Step[::1] steps
    cdef const Term[::1] terms
    cdef const ParameterBlock[::1] blocks
    cdef const Route[::1] routes
    cdef const Use[::1] uses
    cdef readonly Py_ssize_t tape_stride, slope_stride
    cdef readonly Py_ssize_t n_slots
    # how many pairs a block has room for, in whole panels, and how many it holds at most
    cdef readonly Py_ssize_t capacity, pairs
    # how many rows a pair has: 2, or 1 for odd halves
    cdef readonly Py_ssize_t rows
