"""Which part of the cost each entry of a step reaches: read backwards from the rules `reach` of the primitives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from test_entries import listed

from gradcheck_fast.engine.entries_places import Book
from gradcheck_fast.engine.entries_rules import RUNNING
from gradcheck_fast.engine.entries_step import BoundStep
from gradcheck_fast.engine.units_samples import KNOWN, NONE, least_reached, parts_reached
from gradcheck_fast.kernels.instruction_sets import instruction_set
from gradcheck_fast.program.program import Program
from gradcheck_fast.program.steps import PRIMITIVES


def by_reach(name, shapes, attributes, k, labels):
    """The least label that each entry of input k reaches, one entry after the other."""
    found = np.full(math.prod(shapes[k]), NONE)
    for entry in range(len(found)):
        masks = [np.zeros(shape, np.bool_) for shape in shapes]
        masks[k].flat[entry] = True
        reached = np.broadcast_to(PRIMITIVES[name].reach(masks, **attributes), labels.shape)
        found[entry] = labels[reached].min(initial=NONE)
    return found


@pytest.mark.parametrize(("name", "x", "attributes"), list(listed()))
def test_it_is_what_the_rule_reach_says(name, x, attributes):
    """Along the axis of a running sum all counts as reached, as in a matrix; of what is not known, the whole output."""
    program = Program()
    number = program.add(name, *(program.constant(at) for at in x), **attributes)
    step, shapes = program.steps[number], [at.shape for at in x]
    bound = BoundStep(step, x, Book(), instruction_set(), False)
    labels = np.random.default_rng(0).permutation(math.prod(step.shape)).reshape(step.shape)
    for own in (labels, -labels):
        for k in range(len(x)):
            found, expected = least_reached(bound, k, own.ravel()), by_reach(name, shapes, attributes, k, own)
            assert found.shape == expected.shape
            if name in KNOWN and name not in (*RUNNING, "cholesky"):
                np.testing.assert_array_equal(found, expected)
            else:
                assert (found <= expected).all()


def test_rows_stay_apart_until_they_are_added_up():
    program = Program()
    weights, data = program.parameter((3, 2)), program.constant(np.ones((4, 3)))
    rows = program.add("matmul", data, weights)
    squares = program.add("square", rows)
    program.total(squares)
    found = parts_reached(program, 4)
    assert set(found.apart) == {rows, squares}
    np.testing.assert_array_equal(found.apart[rows], [0, 0, 1, 1, 2, 2, 3, 3])
    assert found.spread == [(rows, weights)]


def test_what_reaches_nothing_belongs_to_no_part():
    program = Program()
    weights = program.parameter((4,))
    program.total(program.add("slice", weights, ranges=((1, 3),)))
    np.testing.assert_array_equal(parts_reached(program, 2).apart[weights], [NONE, 0, 1, NONE])
