"""Tests which programs the row executor takes, and which errors it raises for others."""

from __future__ import annotations

import pickle

import pytest

from gradcheck_fast.engine._program import Kind
from gradcheck_fast.engine.rows import lower
from gradcheck_fast.engine.tables import Tables
from gradcheck_fast.program.program import Program, Source

SAMPLES = 3


def test_parameters_become_blocks_that_cover_the_arrays():
    program = Program(SAMPLES)
    x, both = program.input(2), program.parameter((2, 6))
    left, right = program.block(both, columns=4), program.block(both, column=4)
    hidden = program.affine([(x, left)])
    program.cost("squared_error", hidden, program.target(4))
    rows = lower(program)
    assert [(p.rows, p.column, p.columns) for p in rows.parameters] == [(2, 0, 4), (2, 4, 2)]
    assert [step.name for step in rows.steps] == ["input", "affine", "squared_error"]
    assert rows.numbers[hidden] == 1
    assert right not in rows.numbers


def test_parts_that_leave_something_out():
    program = Program(SAMPLES)
    program.block(program.parameter((2, 6)), columns=4)
    with pytest.raises(ValueError, match="of 12 entries 4 are in no part, and 0 in several"):
        lower(program)


def test_parts_that_overlap():
    program = Program(SAMPLES)
    array = program.parameter((2, 6))
    for column in (0, 1):
        program.block(array, column=column, columns=3)
    with pytest.raises(ValueError, match="of 12 entries 4 are in no part, and 4 in several"):
        lower(program)


def test_an_array_that_is_used_whole_and_in_parts():
    program = Program(SAMPLES)
    x, W = program.input(2), program.parameter((2, 6))
    program.block(W, columns=3)
    program.block(W, column=3)
    program.affine([(x, W)])
    with pytest.raises(ValueError, match="step 4, affine: parameter 1 is used as a whole here, and in parts elsewhere"):
        lower(program)


def test_a_product_of_two_values_by_a_matrix_that_is_computed():
    program = Program(SAMPLES)
    x, W = program.input(3), program.input(3)
    with program.at(Source(file="net.py", line=7)):
        program.affine([(x, W)])
    with pytest.raises(ValueError, match=r"affine \(net.py line 7\).*by parameters only"):
        lower(program)


def test_a_parameter_that_is_added_elsewhere_than_in_an_affine_step():
    program = Program(SAMPLES)
    program.add("add", program.parameter((SAMPLES, 2)), program.input(2))
    with pytest.raises(ValueError, match="parameters in affine steps only, not parameter"):
        lower(program)


def test_a_part_of_a_value():
    program = Program(SAMPLES)
    program.block(program.input(4), columns=2)
    with pytest.raises(ValueError, match="step 1, slice: the row executor takes parts of parameters only"):
        lower(program)


def test_steps_that_mix_samples_or_have_other_shapes():
    program = Program(SAMPLES)
    program.add("tanh", program.parameter((5, 2)))
    with pytest.raises(ValueError, match=r"step 1, tanh: .*vectors of samples, not \(5, 2\)"):
        lower(program)


def test_a_mask_that_is_computed():
    program = Program(SAMPLES)
    mask = program.add("tanh", program.input(1))
    program.add("where", mask, mask, mask)
    with pytest.raises(ValueError, match="masks from the data only"):
        lower(program)


def test_targets_that_are_computed():
    program = Program(SAMPLES)
    x = program.input(2)
    program.cost("squared_error", x, program.add("tanh", x))
    with pytest.raises(ValueError, match=r"squared_error: .*columns of the targets only, not tanh"):
        lower(program)


def test_a_primitive_that_the_executor_does_not_know_is_named():
    program = Program(SAMPLES)
    with program.at(Source(file="net.py", line=3)):
        program.add("hypot", program.input(2), program.input(2))
    with pytest.raises(ValueError, match=r"step 2, hypot \(net.py line 3\): the row executor has no such steps"):
        lower(program)


@pytest.mark.parametrize("name", ["add", "subtract", "multiply"])
def test_inputs_that_are_broadcast_are_named(name):
    program = Program(SAMPLES)
    program.add(name, program.input(1), program.input(3))
    with pytest.raises(ValueError, match=rf"step 2, {name}: the .* broadcasts no inputs, .*1\) and \({SAMPLES}, 3\)"):
        lower(program)


@pytest.fixture
def rows():
    program = Program(SAMPLES)
    hidden = program.affine([(program.input(1), program.parameter((1, 1)))])
    program.cost("squared_error", program.add("add", hidden, hidden), program.target(1))
    return lower(program)


def test_a_kind_that_a_part_of_the_executor_does_not_know_is_named(rows, monkeypatch):
    monkeypatch.setattr("gradcheck_fast.engine.tables.KINDS", frozenset(Kind) - {Kind.PAIRWISE})
    with pytest.raises(ValueError, match=r"step 2, add: the row executor knows no steps of kind <Kind.PAIRWISE: 4>"):
        Tables(rows)


def test_a_third_input_is_not_dropped(rows):
    rows.steps[2] = rows.steps[2]._replace(inputs=(1, 1, 1))
    with pytest.raises(ValueError, match="step 2, add: the row executor takes two inputs, got 3"):
        Tables(rows)


def test_row_programs_can_be_pickled():
    program = Program(SAMPLES)
    program.cost("squared_error", program.affine([(program.input(1), program.parameter((1, 1)))]), program.target(1))
    rows = lower(program)
    assert pickle.loads(pickle.dumps(rows)).steps == rows.steps
