"""The way back through a network's steps gives the numerical gradient; and a change of it a wrong one."""

from __future__ import annotations

import numpy as np
import pytest
from networks import flat, random_network

import gradcheck_fast as gf
from gradcheck_fast.diagnosis.adjoint import Change, Tape
from gradcheck_fast.diagnosis.unrolled import unroll


@pytest.mark.parametrize("seed", range(40))
def test_the_way_back_gives_the_numerical_gradient(seed):
    case = random_network(np.random.default_rng(seed))
    assert_gives_the_numerical_gradient(case.loss, case.params)


@pytest.mark.parametrize("lengths", [None, [4, 2, 1]])
@pytest.mark.parametrize(
    "options", [{}, {"bidirectional": True}, {"initial_state": "parameters"}, {"initial_state": "data"}]
)
@pytest.mark.parametrize("layer", [gf.RNN, gf.GRU, gf.LSTM])
def test_the_way_back_through_time_gives_the_numerical_gradient(layer, options, lengths):
    random = np.random.default_rng(0)
    last = layer(3, 4, **options)
    net = gf.Network([gf.RNN(2, 3, return_sequences=True), last, gf.Dense(last.outputs, 2)], cost=gf.SquaredError())
    states = {f"{name}2": random.normal(size=(3, 4)) for name in last.state_widths}
    X, y = random.normal(size=(3, 4, 2)), random.normal(size=(3, 2))
    assert_gives_the_numerical_gradient(net.loss(X, y, lengths=lengths, states=states or None), net.init(0))


def assert_gives_the_numerical_gradient(loss, params):
    numerical = flat(gf.numerical_gradient(loss, params))
    found = Tape(unroll(loss), loss.pack(params).flat).gradient()
    assert np.abs(found - numerical).max() <= 1e-13 * np.abs(numerical).max()


@pytest.fixture
def tape():
    net = gf.Network([gf.Dense(2, 3, "tanh"), gf.Dense(3, 4)], cost=gf.CrossEntropy(reduction="sum"))
    random = np.random.default_rng(0)
    loss, params = net.loss(random.normal(size=(5, 2)), random.integers(0, 4, 5)), net.init(0)
    return Tape(unroll(loss), loss.pack(params).flat)


def test_slopes_of_steps_are_those_of_the_values(tape):
    """Steps: the data, affine, tanh, affine, cost."""
    assert [step.name for step in tape.program.steps] == [
        "input", "affine", "tanh", "affine", "cross_entropy_logits_class",
    ]  # fmt: skip
    np.testing.assert_allclose(tape.slope(2), 1 - tape.values[2] ** 2, rtol=1e-13)
    p = np.exp(tape.values[3]) / np.exp(tape.values[3]).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(tape.slope(4).sum(axis=1), 0.0, atol=1e-14)
    assert ((tape.slope(4) < 0.0).sum(axis=1) == 1).all(), "p - y is negative for the class of the sample alone"
    np.testing.assert_allclose(np.where(tape.slope(4) < 0.0, tape.slope(4) + 1.0, tape.slope(4)), p, rtol=1e-12)


def test_what_goes_back_through_a_matrix_is_its_transpose(tape):
    up = np.random.default_rng(1).normal(size=(5, 4))
    W2 = tape.program.steps[3].terms[1].parameter.of(tape.theta)
    np.testing.assert_allclose(tape.through(3, 0, up), up @ W2.T, rtol=1e-14)
    np.testing.assert_allclose(tape.term(3, 1, up), tape.values[2].T @ up, rtol=1e-14)
    np.testing.assert_allclose(tape.term(3, 0, up), up.sum(axis=0, keepdims=True), rtol=1e-14)


def test_a_change_replaces_what_goes_back(tape):
    right = tape.gradient()
    doubled = tape.gradient(Change({(2, 0): lambda bars, up: 2.0 * up * tape.slope(2)}, {}))
    np.testing.assert_allclose(doubled[:9], 2.0 * right[:9], rtol=1e-13)
    np.testing.assert_allclose(doubled[9:], right[9:], rtol=1e-13)
    nothing = tape.gradient(Change({(2, 0): lambda bars, up: None}, {}))
    assert (nothing[:9] == 0.0).all()
    without_bias = tape.gradient(Change({}, {(3, 0): lambda bars, up: None}))
    assert (without_bias[-4:] == 0.0).all()
