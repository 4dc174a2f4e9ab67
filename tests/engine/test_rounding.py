"""How far one rounding of everything moves each entry of a gradient."""

from __future__ import annotations

import numpy as np
import pytest
from networks import flat
from reference import mp, mpf

import gradcheck_fast as gf
from gradcheck_fast.engine.rounding import roundings as find_roundings
from gradcheck_fast.engine.rounding import slopes


@pytest.mark.parametrize(
    ("name", "slope"),
    [
        ("tanh", lambda z: 1 - mp.tanh(z) ** 2),
        ("exp", mp.exp),
        ("softplus", lambda z: 1 / (1 + mp.exp(-z))),
        ("silu", lambda z: 1 / (1 + mp.exp(-z)) + z * mp.exp(-z) / (1 + mp.exp(-z)) ** 2),
    ],
)
def test_slopes_are_derivatives_to_the_last_digits(name, slope):
    z = np.random.default_rng(0).uniform(-3.0, 3.0, (5, 8))
    found = slopes(name, z, "baseline")
    assert found.shape == z.shape
    for x, s in zip(z.ravel().tolist(), found.ravel().tolist(), strict=True):
        assert abs(mpf(s) - slope(mpf(x))) <= 8 * np.finfo(float).eps


def roundings(net, X, y, params):
    with net.loss(X, y)._tensors.at(flat(params), 1) as point:
        return find_roundings(point)


def test_of_a_linear_network_they_are_what_is_added_up():
    net = gf.Network(gf.Dense(2, 1), cost=gf.SquaredError(reduction="sum"))
    X, y, params = np.array([[1.0, -2.0], [3.0, 4.0]]), np.array([[0.5], [-1.0]]), net.init(0)
    residual = 2 * np.abs(X @ params["W1"] + params["b1"] - y)
    expected = np.concatenate([np.abs(X).T @ residual, residual.sum(axis=0, keepdims=True)]).ravel()
    found = roundings(net, X, y, params)
    assert (found >= expected * (1 - 1e-12)).all()
    assert (found <= expected + np.abs(X).sum() + len(X)).all()


def test_a_saturated_unit_loses_more():
    """1 - a² of a tanh near 1 is a difference of numbers near 1: the rounding is that of what flows in."""
    net = gf.Network([gf.Dense(1, 1, "tanh"), gf.Dense(1, 1)], cost=gf.SquaredError(reduction="sum"))
    X, y = np.array([[1.0]]), np.array([[5.0]])
    params = {"W1": np.array([[6.0]]), "b1": np.zeros(1), "W2": np.array([[1.0]]), "b2": np.zeros(1)}
    gradient = gf.numerical_gradient(net.loss(X, y), params)
    found = roundings(net, X, y, params)
    assert found[0] > 1e3 * abs(gradient["W1"].item())
