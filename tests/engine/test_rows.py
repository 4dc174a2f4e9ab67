"""Tests which programs the row executor takes, and which errors it raises for others."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from gradcheck_fast.engine import _program
from gradcheck_fast.engine.rows import lower
from gradcheck_fast.engine.tables import Tables
from gradcheck_fast.program.primitive import Primitive
from gradcheck_fast.program.program import Program, Source
from gradcheck_fast.program.steps import PRIMITIVES

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
    with pytest.raises(ValueError, match="8 of 12 entries"):
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
    with pytest.raises(ValueError, match="tanh: the row executor compares with columns of the targets only"):
        lower(program)


def test_a_primitive_that_the_executor_does_not_know_is_named(monkeypatch):
    add = PRIMITIVES["add"]
    rules = (add.shape, add.value, add.difference, add.back, add.reach, add.kinks, add.work)
    known = {**PRIMITIVES, "hypot": Primitive("hypot", "hypot({0}, {1})", *rules)}
    monkeypatch.setattr("gradcheck_fast.program.program.PRIMITIVES", known)
    program = Program(SAMPLES)
    with program.at(Source(file="net.py", line=3)):
        program.add("hypot", program.input(2), program.input(2))
    with pytest.raises(ValueError, match=r"step 2, hypot \(net.py line 3\): the row executor has no such steps"):
        lower(program)


def test_tables_with_a_kind_that_does_not_exist():
    program = Program(SAMPLES)
    program.cost("squared_error", program.affine([(program.input(1), program.parameter((1, 1)))]), program.target(1))
    tables = Tables(lower(program))
    tables.steps["kind"][0] = 99
    nothing = np.empty(0, _program.ROUTE), np.empty(0, _program.USE)
    with pytest.raises(ValueError, match="step 0: the row executor knows no steps of kind 99"):
        _program.CompiledProgram(tables.steps, tables.terms, tables.packing.table, *nothing, 1, 1, 16, 1, "baseline")


def test_row_programs_can_be_pickled():
    program = Program(SAMPLES)
    program.cost("squared_error", program.affine([(program.input(1), program.parameter((1, 1)))]), program.target(1))
    rows = lower(program)
    assert pickle.loads(pickle.dumps(rows)).steps == rows.steps
