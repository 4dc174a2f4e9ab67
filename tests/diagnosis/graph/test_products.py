"""Mistakes with matrix products: each is written into a backward pass by hand, and must be named with its line."""

from __future__ import annotations

import numpy as np
import pytest
from searching import explain, is_said, line_of


def network(rng, mistake=""):
    """Three layers of the same width, so that no mistake raises an error."""
    n, h, k = 7, 4, 3
    X, Y = rng.normal(size=(n, h)), rng.normal(size=(n, k))
    params = {
        name: rng.normal(size=shape)
        for name, shape in {"W1": (h, h), "b1": (h,), "W2": (h, h), "b2": (h,), "W3": (k, h)}.items()
    }

    def forward(p):
        z1 = X @ p["W1"] + p["b1"]
        a1 = np.tanh(z1)
        z2 = np.dot(a1, p["W2"]) + p["b2"]
        a2 = np.tanh(z2)
        return z1, a1, z2, a2, a2 @ p["W3"].T

    def loss(p):
        return 0.5 * np.sum((forward(p)[-1] - Y) ** 2)

    def gradient(p):
        _, a1, z2, a2, out = forward(p)
        d3 = out - Y
        W2, W3 = p["W2"], p["W3"]
        dW3 = d3.T @ (z2 if mistake == "pre-activation" else a2)
        if mistake == "updated":
            W3 = W3 - 0.05 * dW3
        da2 = d3 @ W3
        d2 = da2 * (1 - a2**2)
        back = {"not transposed": W2, "another array": p["W1"].T, "another, not transposed": p["W1"]}.get(mistake, W2.T)
        dW2 = {"own output": a2, "data": X}.get(mistake, a1).T @ d2
        d1 = (d2 @ back) * (1 - a1**2)
        dW1, db1 = X.T @ d1, d1.sum(axis=0)
        if mistake == "another sensitivity":
            dW2 = a1.T @ d1
        if mistake == "layers exchanged":
            dW1, db1, dW2, d2 = X.T @ d2, d2.sum(axis=0), a1.T @ d1, d1
        return {"W1": dW1, "b1": db1, "W2": dW2, "b2": d2.sum(axis=0), "W3": dW3}

    return loss, gradient, params


MISTAKES = {
    "not transposed": (r"W2 is not transposed", "z2 = np.dot"),
    "another array": (r"W1 is in the place of W2", "z2 = np.dot"),
    "another, not transposed": (r"W1, transposed, is in the place of W2", "z2 = np.dot"),
    "pre-activation": (r"gradient of .*W3 is built with .* instead of `a2`", "return z1, a1"),
    "own output": (r"gradient of W2 is built with `a2`.* instead of `a1`", "z2 = np.dot"),
    "data": (r"gradient of W2 is built with `X` of line \d+ instead of `a1`", "z2 = np.dot"),
    "another sensitivity": (r"gradient of W2 is computed from the sensitivity of `z1`", "z2 = np.dot"),
    "updated": (r"W3 was updated \(learning rate 0\.05\) before", "return z1, a1"),
}


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 8))])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_with_a_product_is_named_with_its_line(mistake, seed):
    pattern, piece = MISTAKES[mistake]
    causes = explain(*network(np.random.default_rng(seed), mistake))
    assert causes and is_said(causes[0], pattern, line_of(network, piece)), causes


def test_gradients_of_two_lines_that_are_exchanged_are_named_together():
    loss, gradient, params = network(np.random.default_rng(4), "layers exchanged")
    # the factors are those of the own layer: only the sensitivities are exchanged
    (cause, *_) = explain(loss, gradient, params)
    assert is_said(cause, r"the gradients of the arrays of lines \d+ and \d+ are exchanged", line_of(network, "z1 = X"))


def attention(rng, mistake=""):
    """Queries and keys of the same shape; a stack of matrices."""
    n, t, d = 2, 4, 3
    X, Y = rng.normal(size=(n, t, d)), rng.normal(size=(n, t, d))
    params = {name: rng.normal(size=(d, d)) for name in ("Wq", "Wk", "Wv")}

    def loss(p):
        q = X @ p["Wq"]
        k = X @ p["Wk"]
        s = q @ np.swapaxes(k, 1, 2)
        out = np.tanh(s) @ (X @ p["Wv"])
        return 0.5 * np.sum((out - Y) ** 2)

    def gradient(p):
        q, k, v = (X @ p[name] for name in ("Wq", "Wk", "Wv"))
        a = np.tanh(q @ np.swapaxes(k, 1, 2))
        up = a @ v - Y
        dv = (a if mistake == "weights not transposed" else np.swapaxes(a, 1, 2)) @ up
        ds = (up @ np.swapaxes(v, 1, 2)) * (1 - a**2)
        dq = ds @ (v if mistake == "values for keys" else k)
        dk = (ds if mistake == "scores not transposed" else np.swapaxes(ds, 1, 2)) @ q
        flat = X.reshape(-1, d).T
        return {"Wq": flat @ dq.reshape(-1, d), "Wk": flat @ dk.reshape(-1, d), "Wv": flat @ dv.reshape(-1, d)}

    return loss, gradient, params


@pytest.mark.parametrize(
    "mistake, pattern, piece",
    [
        ("weights not transposed", r"is not transposed", "out = np.tanh(s)"),
        ("scores not transposed", r"is not transposed", "s = q @"),
        ("values for keys", r"`q` of line \d+ is built with .* instead of `k`", "s = q @"),
    ],
)
def test_mistakes_in_stacks_of_products_are_named(mistake, pattern, piece):
    causes = explain(*attention(np.random.default_rng(1), mistake))
    assert causes and is_said(causes[0], pattern, line_of(attention, piece)), causes


def two_branches(rng, mistake=""):
    """One array multiplies two inputs."""
    A, B = rng.normal(size=(6, 4)), rng.normal(size=(6, 4))
    params = {"W": rng.normal(size=(4, 3))}

    def loss(p):
        one = np.tanh(A @ p["W"])
        two = np.tanh(B @ p["W"])
        return np.sum(one * two**2)

    def gradient(p):
        one, two = np.tanh(A @ p["W"]), np.tanh(B @ p["W"])
        d1, d2 = two**2 * (1 - one**2), 2 * one * two * (1 - two**2)
        return {"W": B.T @ d1 + A.T @ d2 if mistake else A.T @ d1 + B.T @ d2}

    return loss, gradient, params


def test_the_factors_of_two_uses_that_are_exchanged_are_named():
    (cause, *_) = explain(*two_branches(np.random.default_rng(2), "exchanged"))
    assert is_said(
        cause, r"in the gradient of W the factors of .* are exchanged", line_of(two_branches, "one = np.tanh")
    )


@pytest.mark.parametrize("make", [network, attention, two_branches])
def test_nothing_is_said_of_right_gradients_and_of_noise(make):
    loss, gradient, params = make(np.random.default_rng(3))
    assert explain(loss, gradient, params) == []
    rng = np.random.default_rng(6)
    noise = {name: rng.normal(size=array.shape) for name, array in params.items()}
    wrong = {name: array + 0.1 * noise[name] for name, array in gradient(params).items()}
    assert explain(loss, lambda _: wrong, params) == []
