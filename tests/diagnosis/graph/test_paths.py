"""Paths that are left out or counted wrongly: each is written into a backward pass by hand, and must be named."""

from __future__ import annotations

import numpy as np
import pytest
from searching import explain, is_said, line_of


def network(rng, mistake=""):
    """A residual connection, weights that are used twice, a difference, a value that is read four times, penalties."""
    n, d = 7, 4
    X, Y = rng.normal(size=(n, d)), rng.normal(size=(n, d))
    params = {"W": rng.normal(size=(d, d)), "V": rng.normal(size=(d, d)), "b": rng.normal(size=d)}

    def loss(p):
        h = np.tanh(X @ p["W"] + p["b"])
        r = h + np.tanh(h @ p["V"])
        e = r - np.exp(h @ p["W"].T / 4)
        s = np.sum((e - Y) ** 2 * (1 + h**2))
        return s + 0.3 * np.sum(p["W"] ** 2)

    def gradient(p):
        W, V = p["W"], p["V"]
        h = np.tanh(X @ W + p["b"])
        t, g = np.tanh(h @ V), np.exp(h @ W.T / 4)
        e = h + t - g
        de = 2 * (e - Y) * (1 + h**2)
        dt = de * (1 - t**2)
        dg = de * g / 4 if mistake == "sign" else -de * g / 4
        parts = [de, dt @ V.T, dg @ W, (e - Y) ** 2 * 2 * h]
        if mistake == "residual":
            parts[0] = 0
        if mistake == "two paths":
            parts[1] = parts[3] = 0
        if mistake == "overwritten":
            parts = parts[1:2]
        dz = sum(parts) * (1 - h**2)
        first, second = X.T @ dz, dg.T @ h
        if mistake == "tied":
            second = 0
        if mistake == "value":
            first, dz = 0, 0 * dz
        penalty = {"penalty": 0, "penalty doubled": 1.2}.get(mistake, 0.6)
        dV, db = h.T @ dt, dz.sum(axis=0)
        return {"W": first + second + penalty * W, "V": dV, "b": db}

    return loss, gradient, params


MISTAKES = {
    "residual": (r"what goes back to `h` of line \d+ as a term of `h \+ .*` is left out", "r = h + np.tanh"),
    "tied": (r"this use of W is left out", "e = r - np.exp"),
    "sign": (r"has the wrong sign", "e = r - np.exp"),
    "two paths": (r'what goes back to `h` from line \d+, `h @ p\["V"\]`, and line \d+ is left out', "h = np.tanh"),
    "overwritten": (r"of what goes back to `h` .* only the part from here counts \(= for \+=\)", "r = h + np.tanh"),
    "value": (r"all that goes back from `h` is left out|what goes back to `.*` is left out", "h = np.tanh"),
    "penalty": (r"the penalty of W is left out", "return s + 0.3"),
    "penalty doubled": (r"the penalty of W is doubled", "return s + 0.3"),
}


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 8))])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_path_that_is_counted_wrongly_is_named_with_its_line(mistake, seed):
    pattern, piece = MISTAKES[mistake]
    causes = explain(*network(np.random.default_rng(seed), mistake))
    assert causes and is_said(causes[0], pattern, line_of(network, piece)), causes


def partly_penalised(rng, mistake=""):
    """One flat vector, whose first entry the penalty does not cover."""
    X, y = rng.normal(size=(9, 5)), rng.normal(size=9)

    def loss(p):
        theta = p["theta"]
        fit = np.mean((X @ theta - y) ** 2)
        return fit + 0.2 * np.sum(theta[1:] ** 2)

    def gradient(p):
        theta = p["theta"]
        covered = theta if mistake else np.concatenate([[0.0], theta[1:]])
        return {"theta": 2 * X.T @ (X @ theta - y) / 9 + 0.4 * covered}

    return loss, gradient, {"theta": rng.normal(size=5)}


def test_a_penalty_on_what_it_does_not_cover_is_named():
    (cause, *_) = explain(*partly_penalised(np.random.default_rng(0), "all"))
    assert is_said(cause, "the penalty is in the gradient of theta, too", line_of(partly_penalised, "return fit"))


@pytest.mark.parametrize("make", [network, partly_penalised])
def test_nothing_is_said_of_right_gradients_and_of_noise(make):
    loss, gradient, params = make(np.random.default_rng(3))
    assert explain(loss, gradient, params) == []
    rng = np.random.default_rng(6)
    wrong = {name: array * (1 + 0.1 * rng.normal(size=array.shape)) for name, array in gradient(params).items()}
    assert explain(loss, lambda _: wrong, params) == []
