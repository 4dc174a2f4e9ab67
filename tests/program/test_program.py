"""Tests that a program says what a forward pass computes, and that its twin computes values, differences, gradient."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.program import twin
from gradcheck_fast.program.program import Program, Source

SAMPLES = 3


def dense_program():
    """Returns a program for half of the squared error of tanh(x W + b) V."""
    program = Program(SAMPLES)
    x, W, b, V = program.input(2), program.parameter((2, 4)), program.parameter((4,)), program.parameter((4, 2))
    hidden = program.add("tanh", program.affine([(x, W)], b))
    program.cost("squared_error", program.affine([(hidden, V)]), program.target(2), constant=0.5)
    return program


@pytest.fixture
def problem():
    random, program = np.random.default_rng(0), dense_program()
    theta, X, y = random.normal(size=program.size), random.normal(size=(SAMPLES, 2)), random.normal(size=(SAMPLES, 2))
    return program, theta, X, y


def cost_of(theta, X, y):
    W, b, V = theta[:8].reshape(2, 4), theta[8:12], theta[12:].reshape(4, 2)
    return 0.5 * np.sum((np.tanh(X @ W + b) @ V - y) ** 2)


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


# ---- the twin


def test_values(problem):
    program, theta, X, y = problem
    found = twin.values(program, program.leaves(theta, X, y))
    assert twin.total(program, found) == pytest.approx(cost_of(theta, X, y), rel=1e-15)


@pytest.mark.parametrize("size", [1e-9, 1e-2])
def test_differences_of_all_parameters_at_once(problem, size):
    program, theta, X, y = problem
    at = twin.values(program, program.leaves(theta, X, y))
    direction = size * np.random.default_rng(1).normal(size=program.size)
    moved = {k: v for k, v in program.leaves(direction, X, y).items() if k in program.parameters}
    change = twin.total(program, twin.differences(program, at, moved))
    expected = cost_of(theta + direction, X, y) - cost_of(theta, X, y)
    assert change == pytest.approx(expected, abs=1e-14, rel=1e-12)


def test_a_step_that_nothing_reaches_has_no_difference(problem):
    program, theta, X, y = problem
    at = twin.values(program, program.leaves(theta, X, y))
    found = twin.differences(program, at, {program.parameters[2]: np.ones((4, 2))})
    assert [step.name for step, d in zip(program.steps, found, strict=True) if d is None] == [
        "input", "parameter", "parameter", "affine", "tanh", "input",
    ]  # fmt: skip


def test_sensitivities_are_the_gradient(problem):
    program, theta, X, y = problem
    at = twin.values(program, program.leaves(theta, X, y))
    found = twin.sensitivities(program, at)
    gradient = np.concatenate([found[number].ravel() for number in program.parameters])
    central = [(cost_of(theta + h, X, y) - cost_of(theta - h, X, y)) / 2e-6 for h in 1e-6 * np.eye(program.size)]
    np.testing.assert_allclose(gradient, central, rtol=1e-8, atol=1e-8)


NETWORKS = {
    "dense": gf.Network([gf.Dense(3, 5, "gelu"), gf.Dense(5, 2, "softmax")], cost=gf.CrossEntropy(from_logits=False)),
    "gru": gf.Network([gf.GRU(3, 4, bidirectional=True), gf.Dense(8, 2)], cost=gf.Huber()),
    "lstm": gf.Network(
        [gf.LSTM(3, 4, peepholes=True, initial_state="parameters", return_sequences=True), gf.Dense(4, 2)],
        cost=gf.SquaredError(),
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_twin_agrees_with_the_row_executor(name):
    """The plain rules and the compiled engine give the same result for a program, up to a few roundings."""
    net, random = NETWORKS[name], np.random.default_rng(3)
    X = random.normal(size=(4, 3) if name == "dense" else (4, 5, 3))
    y = random.integers(0, 2, 4) if name == "dense" else random.normal(size=(4, 5, 2) if name == "lstm" else (4, 2))
    lengths = None if name == "dense" else [5, 2, 3, 5]
    params, loss = net.init(1), net.loss(X, y, lengths=lengths)
    data, targets, counted = loss.given
    program, last = net.lower(data)
    net.cost.lower(program, last, targets, counted)
    theta = np.concatenate([array.ravel() for array in params.values()])
    at = twin.values(program, program.leaves(theta, data.inputs, targets))
    assert twin.total(program, at) == pytest.approx(loss(params), rel=1e-14)
    found = twin.sensitivities(program, at)
    numerical = gf.numerical_gradient(loss, params, method="units")
    for number, array in zip(program.parameters, numerical.values(), strict=True):
        np.testing.assert_allclose(found[number], array, rtol=1e-12, atol=1e-14)
