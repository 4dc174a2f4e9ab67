"""Programs for tests of what runs them."""

from __future__ import annotations

from gradcheck_fast.program.program import Program

SAMPLES = 3


def dense_program():
    """tanh(x W + b) V against the targets, half of the squared error."""
    program = Program(SAMPLES)
    x, W, b, V = program.input(2), program.parameter((2, 4)), program.parameter((4,)), program.parameter((4, 2))
    hidden = program.add("tanh", program.affine([(x, W)], b))
    program.cost("squared_error", program.affine([(hidden, V)]), program.target(2), constant=0.5)
    return program
