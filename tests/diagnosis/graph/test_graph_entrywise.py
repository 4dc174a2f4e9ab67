"""Derivatives of activations that are left out, taken at the wrong place, or another function's."""

from __future__ import annotations

import re

import numpy as np
import pytest
from searching import explain, is_said, line_of


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


# ---- layers one above the other


def two_hidden_layers(mistake="", seed=0):
    """A layer of tanh, one of sigmoids, and one without an activation; squared errors."""
    rng = np.random.default_rng(seed)
    n, d, h = (int(size) for size in rng.integers(4, 9, 3))
    X, T = rng.standard_normal((n, d)), rng.standard_normal((n, 3))
    shapes = {"W1": (d, h), "b1": (h,), "W2": (h, h), "b2": (h,), "W3": (h, 3), "b3": (3,)}
    params = {name: rng.standard_normal(shape) for name, shape in shapes.items()}

    def forward(p):
        z1 = X @ p["W1"] + p["b1"]
        a1 = np.tanh(z1)
        z2 = a1 @ p["W2"] + p["b2"]
        a2 = sigmoid(z2)
        y = a2 @ p["W3"] + p["b3"]
        return z1, a1, z2, a2, y

    def loss(p):
        return np.sum((forward(p)[-1] - T) ** 2) / n

    _, a1, z2, a2, y = forward(params)
    dy = 2 * (y - T) / n
    if mistake == "without the 2":
        dy = (y - T) / n
    if mistake == "added":
        dy = dy * y * (1 - y)
    da2 = dy @ params["W3"].T
    slopes = {
        "left out": 1.0,
        "at z": z2 * (1 - z2),
        "1 - a": 1 - a2,
        "of tanh": 1 - np.tanh(z2) ** 2,
        "twice": (a2 * (1 - a2)) ** 2,
        "at its value": sigmoid(a2) * (1 - sigmoid(a2)),
        "of the other layer": 1 - a1**2,
        "everywhere left out": 1.0,
    }
    dz2 = da2 * slopes.get(mistake, a2 * (1 - a2))
    of_weights = da2 if mistake in ("own arrays", "weights") else dz2
    of_bias = da2 if mistake in ("own arrays", "bias") else dz2
    da1 = (da2 if mistake == "below" else dz2) @ params["W2"].T
    dz1 = da1 * (1.0 if mistake == "everywhere left out" else 1 - a1**2)
    gradient = {
        "W1": X.T @ dz1, "b1": dz1.sum(axis=0), "W2": a1.T @ of_weights, "b2": of_bias.sum(axis=0), "W3": a2.T @ dy,
        "b3": dy.sum(axis=0),
    }  # fmt: skip
    return forward, loss, gradient, params


SIGMOID, TANH = "a2 = sigmoid(z2)", "a1 = np.tanh(z1)"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("mistake", "piece", "words"),
    [
        ("left out", SIGMOID, "the derivative of sigmoid is left out"),
        ("at z", SIGMOID, "the derivative of sigmoid is taken at z instead of at a: z (1 - z)"),
        ("1 - a", SIGMOID, "the derivative of sigmoid is taken for 1 - a"),
        ("of tanh", SIGMOID, "the derivative of sigmoid is that of tanh"),
        ("twice", SIGMOID, "the derivative of sigmoid is applied twice"),
        ("at its value", SIGMOID, "the derivative of sigmoid is taken at its value instead of at its argument"),
        ("own arrays", SIGMOID, "the derivative of sigmoid is left out in the gradients of its own arrays only"),
        ("weights", SIGMOID, "the derivative of sigmoid is left out in the gradient of its weights only"),
        ("bias", SIGMOID, "the derivative of sigmoid is left out in the gradient of its bias only"),
        ("below", SIGMOID, "the derivative of sigmoid is left out in what goes to the layer below only"),
        ("added", "y = a2 @", "the factor y (1 - y), of its value y, is applied, but there is no activation"),
    ],
)
def test_a_wrong_derivative_is_named_with_its_line(mistake, piece, words, seed):
    forward, loss, gradient, params = two_hidden_layers(mistake, seed)
    (cause, *_) = explain(loss, gradient, params)
    assert is_said(cause, re.escape(words), line_of(forward, piece))


def test_the_derivative_of_another_layer_is_named_with_both_lines():
    forward, loss, gradient, params = two_hidden_layers("of the other layer")
    (cause, *_) = explain(loss, gradient, params)
    assert is_said(cause, f"its derivative is that of line {line_of(forward, TANH)}", line_of(forward, SIGMOID))


def test_derivatives_that_are_left_out_in_all_layers_are_one_mistake():
    forward, loss, gradient, params = two_hidden_layers("everywhere left out")
    (cause,) = explain(loss, gradient, params)
    assert is_said(cause, "its derivative is left out", line_of(forward, TANH))
    assert is_said(cause, "its derivative is left out", line_of(forward, SIGMOID))


def test_a_square_without_its_factor():
    _, loss, gradient, params = two_hidden_layers("without the 2")
    (cause, *_) = explain(loss, gradient, params)
    assert is_said(cause, "the derivative of square lacks the factor 2", line_of(loss, "** 2"))


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_said_of_a_right_gradient(seed):
    _, loss, gradient, params = two_hidden_layers("", seed)
    assert explain(loss, gradient, params) == []


@pytest.mark.parametrize("seed", range(10))
def test_no_line_is_named_for_an_unrelated_error(seed):
    _, loss, gradient, params = two_hidden_layers("", seed)
    rng = np.random.default_rng(seed)
    wrong = gradient | {"W1": gradient["W1"] * (1 + 0.1 * rng.standard_normal(gradient["W1"].shape))}
    assert not any("derivative" in cause for cause in explain(loss, wrong, params))


# ---- activations in all spellings


ACTIVATIONS = {
    "relu": (lambda z: np.where(z > 0, z, 0), lambda z: 1.0 * (z > 0)),
    "leaky_relu with slope 0.2": (lambda z: np.maximum(0.2 * z, z), lambda z: np.where(z > 0, 1, 0.2)),
    "elu with alpha 0.7": (
        lambda z: np.where(z > 0, z, 0.7 * (np.exp(z) - 1)),
        lambda z: np.where(z > 0, 1, 0.7 * np.exp(z)),
    ),
    "silu": (lambda z: z / (1 + np.exp(-z)), lambda z: sigmoid(z) * (1 + z * (1 - sigmoid(z)))),
    "softplus": (lambda z: np.log(1 + np.exp(z)), sigmoid),
    "tanh": (
        lambda z: (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z)),
        lambda z: 1 - np.tanh(z) ** 2,
    ),
    "hardtanh": (lambda z: np.clip(z, -1, 1), lambda z: 1.0 * (np.abs(z) < 1)),
    "absolute": (np.abs, np.sign),
}


def one_hidden_layer(name, slope):
    """A layer of an activation whose slope is given as a function of it, of its argument and of what comes back."""
    rng = np.random.default_rng(1)
    X, T = rng.standard_normal((9, 4)), rng.standard_normal((9, 2))
    params = {"W1": rng.standard_normal((4, 6)), "b1": rng.standard_normal(6), "W2": rng.standard_normal((6, 2))}
    activation, derivative = ACTIVATIONS[name]

    def loss(p):
        z = X @ p["W1"] + p["b1"]
        a = activation(z)
        return np.sum((a @ p["W2"] - T) ** 2)

    z = X @ params["W1"] + params["b1"]
    a = activation(z)
    dy = 2 * (a @ params["W2"] - T)
    da = dy @ params["W2"].T
    dz = da * slope(derivative, z, da)
    return loss, {"W1": X.T @ dz, "b1": dz.sum(axis=0), "W2": a.T @ dy}, params


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_recognised_by_their_values(name):
    loss, gradient, params = one_hidden_layer(name, lambda derivative, z, da: 1.0)
    (cause,) = explain(loss, gradient, params)
    assert f"the derivative of {name} is left out" in cause
    loss, gradient, params = one_hidden_layer(name, lambda derivative, z, da: derivative(z))
    assert explain(loss, gradient, params) == []


def test_a_rectifier_that_cuts_by_what_comes_back():
    loss, gradient, params = one_hidden_layer("relu", lambda derivative, z, da: 1.0 * (da > 0))
    (cause, *_) = explain(loss, gradient, params)
    assert "the derivative of relu is taken at what comes back instead of at its argument" in cause


def test_a_leak_that_is_forgotten():
    loss, gradient, params = one_hidden_layer("leaky_relu with slope 0.2", lambda derivative, z, da: 1.0 * (z > 0))
    (cause, *_) = explain(loss, gradient, params)
    assert "the derivative of leaky_relu with slope 0.2 is that of relu" in cause


# ---- turns of a loop


def recurrent(mistake=""):
    """A recurrent layer that fills a buffer with its states, time by time."""
    rng = np.random.default_rng(2)
    times, n, d, h = 6, 3, 4, 5
    X, T = rng.standard_normal((n, times, d)), rng.standard_normal((n, times, 2))
    shapes = {"U": (d, h), "W": (h, h), "b": (h,), "V": (h, 2)}
    params = {name: 0.5 * rng.standard_normal(shape) for name, shape in shapes.items()}

    def forward(p):
        z, s = np.zeros((n, times, h)), np.zeros((n, times + 1, h))
        for t in range(times):
            z[:, t] = X[:, t] @ p["U"] + s[:, t - 1] @ p["W"] + p["b"]
            s[:, t] = np.tanh(z[:, t])
        return z, s, s[:, :times] @ p["V"]

    def loss(p):
        return np.sum((forward(p)[-1] - T) ** 2) / n

    z, s, y = forward(params)
    dy, carried = 2 * (y - T) / n, np.zeros((n, h))
    gradient = {name: np.zeros(shape) for name, shape in shapes.items()}
    gradient["V"] = np.einsum("nth,nto->ho", s[:, :times], dy)
    for t in reversed(range(times)):
        slope = {
            "left out": 1.0,
            "at z": 1 - z[:, t] ** 2,
            "of the turn before": 1 - s[:, t - 1] ** 2,
            "1 - a": 1 - s[:, t],
        }.get(mistake, 1 - s[:, t] ** 2)
        dz = (dy[:, t] @ params["V"].T + carried) * slope
        gradient["U"] += X[:, t].T @ dz
        gradient["W"] += s[:, t - 1].T @ dz
        gradient["b"] += dz.sum(axis=0)
        carried = dz @ params["W"].T
    return forward, loss, gradient, params


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ("left out", "the derivative of tanh is left out"),
        ("at z", "the derivative of tanh is taken at z instead of at a: 1 - z²"),
        ("of the turn before", "the derivative of tanh is taken at the value of the turn before"),
        ("1 - a", "the derivative of tanh is taken for 1 - a"),
    ],
)
def test_a_derivative_that_is_wrong_at_every_turn(mistake, words):
    forward, loss, gradient, params = recurrent(mistake)
    (cause, *_) = explain(loss, gradient, params)
    assert is_said(cause, re.escape(words), line_of(forward, "np.tanh(z[:, t])"))


def test_nothing_is_said_of_a_right_recurrence():
    _, loss, gradient, params = recurrent()
    assert explain(loss, gradient, params) == []
