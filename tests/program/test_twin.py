"""The plain twin computes what a program says: values, differences, and the gradient."""

from __future__ import annotations

import numpy as np
import pytest
from programs import SAMPLES, dense_program

import gradcheck_fast as gf
from gradcheck_fast.program import twin


@pytest.fixture
def problem():
    random, program = np.random.default_rng(0), dense_program()
    theta, X, y = random.normal(size=program.size), random.normal(size=(SAMPLES, 2)), random.normal(size=(SAMPLES, 2))
    return program, theta, X, y


def cost_of(theta, X, y):
    W, b, V = theta[:8].reshape(2, 4), theta[8:12], theta[12:].reshape(4, 2)
    return 0.5 * np.sum((np.tanh(X @ W + b) @ V - y) ** 2)


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
    """Both run one program, by the plain rules and by the compiled engine, and agree to some roundings."""
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
