"""The memory plan of a row program: where steps lie on the tape, and where their differences go."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from gradcheck_fast.engine import _program
from gradcheck_fast.engine.layout import PANEL
from gradcheck_fast.engine.rows import lower
from gradcheck_fast.engine.tables import Tables
from gradcheck_fast.program.program import Program

SAMPLES = 3


def chain(*widths, activation="tanh"):
    """A network of affine steps and activations, the cost at the end."""
    program = Program(SAMPLES)
    step = program.input(widths[0])
    for rows, columns in pairwise(widths):
        step = program.add(activation, program.affine([(step, program.parameter((rows, columns)))]))
    program.cost("squared_error", step, program.target(widths[-1]))
    return Tables(lower(program))


def test_dtypes_have_the_fields_of_the_structs():
    assert _program.STEP.names[:4] == ("kind", "operation", "first", "second")
    assert _program.TERM.names == ("step", "parameter", "diagonal", "ends")
    assert _program.BLOCK.names[0] == "flat"
    assert _program.TASK.names == ("route", "begin", "end", "first", "last")
    assert all(
        dtype.isalignedstruct or dtype.itemsize % 8 == 0 for dtype in (_program.STEP, _program.ROUTE, _program.USE)
    )


def test_every_step_has_whole_panels_on_the_tape_for_its_value_and_what_it_caches():
    tables = chain(3, 5, 20)
    sizes = np.diff(tables.offsets)
    assert (sizes % PANEL == 0).all()
    # input, affine, tanh (a value and two cached), and so on; a cost has no value of its own
    assert (sizes // PANEL).tolist() == [1, 1, 3, 2, 6, 0]


@pytest.mark.parametrize("width", [16, 64, 512, 1024])
def test_samples_never_lie_a_multiple_of_a_page_apart(width):
    assert chain(width, width, width).tape_stride % 512 != 0


def test_an_activation_writes_over_the_difference_that_ends_with_it():
    tables = chain(3, 5, 4, 2)
    numbers = tables.slots.numbers
    assert numbers[1] == numbers[2]
    assert numbers[3] == numbers[4]
    assert numbers[2] != numbers[3], "a matrix product reads one slot and writes another"
    assert len(tables.slots.widths) == 2


def test_a_slot_is_not_free_before_its_last_reader():
    program = Program(SAMPLES)
    hidden = program.affine([(program.input(2), program.parameter((2, 4)))])
    bent = program.add("tanh", hidden)
    total = program.add("multiply", program.add("sigmoid", bent), hidden)  # reads what tanh has read before
    program.cost("squared_error", total, program.target(4))
    tables = Tables(lower(program))
    number = tables.rows.numbers
    slots = tables.slots.numbers
    assert slots[number[bent]] != slots[number[hidden]]


def test_steps_on_which_no_cost_depends_have_no_slot():
    program = Program(SAMPLES)
    hidden = program.affine([(program.input(2), program.parameter((2, 4)))])
    unused = program.add("tanh", hidden)
    program.cost("squared_error", hidden, program.target(4))
    tables = Tables(lower(program))
    assert tables.rows.numbers[unused] not in tables.slots.numbers
    assert not tables.steps["needed"][tables.rows.numbers[unused]]


def test_units_of_all_affine_steps_lie_side_by_side():
    tables = chain(3, 5, 20)
    assert tables.unit_offsets == {1: 0, 3: 16}
