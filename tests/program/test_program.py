"""A program says what a forward pass computes, step by step, and where each step comes from."""

from __future__ import annotations

import pickle

import pytest
from programs import SAMPLES, dense_program

from gradcheck_fast.program.program import Program, Source

# ---- steps


def test_a_step_knows_its_primitive_inputs_shape_and_source():
    program = Program(SAMPLES)
    with program.at(Source("layer 1, Dense", "net.py", 12)):
        x, W = program.input(2), program.parameter((2, 4))
        number = program.affine([(x, W)])
    step = program.steps[number]
    assert (step.primitive.name, step.inputs, step.shape) == ("affine", (x, W), (SAMPLES, 4))
    assert str(step) == "affine (net.py line 12, layer 1, Dense)"
    assert not any(program.steps[program.input(1)].source)


def test_an_input_that_does_not_fit_names_the_step_and_where_it_comes_from():
    program = Program(SAMPLES)
    with program.at(Source(file="gru.py", line=58)), pytest.raises(ValueError, match=r"step 2, add \(gru.py line 58\)"):
        program.add("add", program.input(2), program.input(3))


def test_an_attribute_that_the_primitive_has_not():
    program = Program(SAMPLES)
    with pytest.raises(ValueError, match=r"step 1, tanh: .*alpha"):
        program.add("tanh", program.input(2), alpha=3.0)
    with pytest.raises(ValueError, match=r"step 2, squared_error: .*scale"):
        program.add("squared_error", 0, program.target(2), constant=1.0)


@pytest.mark.parametrize("number", [-1, 1, 7])
def test_an_input_that_is_no_earlier_step(number):
    program = Program(SAMPLES)
    program.input(2)
    with pytest.raises(ValueError, match=rf"step 1, tanh: expected inputs from 0 to 0, got {number}"):
        program.add("tanh", number)


def test_after_an_error_steps_no_longer_come_from_there():
    program = Program(SAMPLES)
    with pytest.raises(RuntimeError), program.at(Source("layer 1")):
        raise RuntimeError
    assert not any(program.steps[program.input(1)].source)


def test_an_unknown_primitive():
    with pytest.raises(ValueError, match=r"there is no primitive 'sigmiod'.*sigmoid"):
        Program(SAMPLES).add("sigmiod", 0)


def test_a_program_can_be_pickled():
    program = dense_program()
    assert pickle.loads(pickle.dumps(program)).steps == program.steps


def test_a_block_that_is_the_whole_array_is_that_array():
    program = Program(SAMPLES)
    array, vector = program.parameter((4, 6)), program.parameter((6,))
    assert program.block(array) == array
    assert program.block(vector, column=0, columns=6) == vector
    part = program.steps[program.block(array, row=1, rows=2, column=3)]
    assert (part.name, part.shape) == ("slice", (2, 3))
    assert program.steps[program.block(vector, column=2, columns=3)].shape == (3,)
