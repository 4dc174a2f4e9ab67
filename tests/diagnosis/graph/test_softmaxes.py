"""Wrong derivatives of softmax, of its logarithm, and of what a cross-entropy makes of them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from searching import explain, is_said, line_of


def softmax(s, axis=1):
    e = np.exp(s - np.max(s, axis=axis, keepdims=True))
    return e / np.sum(e, axis=axis, keepdims=True)


def jacobian(p, up, axis=1):
    return p * (up - np.sum(up * p, axis=axis, keepdims=True))


def classes(cost, of_scores, seed=0):
    """A hidden layer and scores of three classes; `of_scores(p, T, n)` is what goes back to the scores."""
    rng = np.random.default_rng(seed)
    n, d, h = (int(size) for size in rng.integers(4, 9, 3))
    X, y = rng.standard_normal((n, d)), rng.integers(0, 3, n)
    T = np.eye(3)[y]
    params = {"W1": rng.standard_normal((d, h)), "W2": rng.standard_normal((h, 3)), "b2": rng.standard_normal(3)}

    def scores(p):
        return np.tanh(X @ p["W1"]) @ p["W2"] + p["b2"]

    def loss(p):
        return cost(scores(p), T, n)

    a = np.tanh(X @ params["W1"])
    ds = of_scores(softmax(scores(params)), T, n)
    da = ds @ params["W2"].T
    return loss, {"W1": X.T @ (da * (1 - a**2)), "W2": a.T @ ds, "b2": ds.sum(axis=0)}, params


def cross_entropy(s, T, n):
    e = np.exp(s - np.max(s, axis=1, keepdims=True))
    p = e / np.sum(e, axis=1, keepdims=True)
    return -np.sum(T * np.log(p)) / n


def squared_error(s, T, n):
    e = np.exp(s)
    p = e / e.sum(axis=1)[:, np.newaxis]
    return np.mean((p - T) ** 2)


def of_logarithms(s, T, n):
    shifted = s - s.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
    return -np.sum(T * log_p) / n


MISTAKES = {
    cross_entropy: [
        (lambda p, T, n: -T / p / n, "the Jacobian of softmax is left out"),
        (lambda p, T, n: -T / p / n * p * (1 - p), "there is only the diagonal, p (1 - p)"),
        (lambda p, T, n: jacobian(p, (p - T) / n), "the Jacobian of softmax is applied twice"),
        (lambda p, T, n: (p - T) / n * p * (1 - p), "the derivative p (1 - p) is applied on top of that of softmax"),
        (lambda p, T, n: p / n, "y goes missing from p - y"),
        (lambda p, T, n: -T / n, "p goes missing from p - y"),
        (lambda p, T, n: jacobian(p, -T / p / n, 0), "is taken along axis 0 instead of axis 1"),
    ],
    squared_error: [
        (lambda p, T, n: 2 * (p - T) / p.size, "the Jacobian of softmax is left out"),
        (lambda p, T, n: 2 * (p - T) / p.size * p * (1 - p), "there is only the diagonal, p (1 - p)"),
        (lambda p, T, n: p - T, "p - y goes back, as if the cost were the cross-entropy"),
        (lambda p, T, n: (p - T) / n, "as if the cost were the cross-entropy"),
    ],
    of_logarithms: [
        (lambda p, T, n: p / n, "y goes missing from p - y"),
        (lambda p, T, n: -T / n, "p goes missing from p - y"),
        (lambda p, T, n: jacobian(p, -T / n), "the Jacobian is that of softmax, not of its logarithm"),
        (lambda p, T, n: (p - T) / n * p * (1 - p), "the derivative p (1 - p) is applied on top of p - y"),
    ],
}
CASES = [(cost, *case) for cost, cases in MISTAKES.items() for case in cases]
SOFTMAX = {cross_entropy: "p = e /", squared_error: "p = e /", of_logarithms: "log_p ="}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("cost", "of_scores", "words"), CASES)
def test_a_wrong_derivative_of_softmax_is_named_with_its_line(cost, of_scores, words, seed):
    (cause, *_) = explain(*classes(cost, of_scores, seed))
    assert is_said(cause, re.escape(words), line_of(cost, SOFTMAX[cost]))


RIGHT = {
    cross_entropy: lambda p, T, n: (p - T) / n,
    squared_error: lambda p, T, n: jacobian(p, 2 * (p - T) / p.size),
    of_logarithms: lambda p, T, n: (p - T) / n,
}


@pytest.mark.parametrize("cost", RIGHT)
def test_nothing_is_said_of_a_right_gradient(cost):
    assert explain(*classes(cost, RIGHT[cost])) == []


# ---- attention


def attention(mistake=""):
    """One head of attention with a causal mask, for one sequence."""
    rng = np.random.default_rng(3)
    t, d = 5, 4
    X, Y = rng.standard_normal((t, d)), rng.standard_normal((t, d))
    params = {name: rng.standard_normal((d, d)) for name in ("Wq", "Wk", "Wv")}
    later = np.triu(np.ones((t, t), dtype=bool), k=1)

    def forward(p):
        Q, K, V = X @ p["Wq"], X @ p["Wk"], X @ p["Wv"]
        S = np.where(later, -1e9, Q @ K.T)
        A = softmax(S)
        return Q, K, V, A

    def loss(p):
        _, _, V, A = forward(p)
        return np.sum((A @ V - Y) ** 2)

    Q, K, V, A = forward(params)
    dO = 2 * (A @ V - Y)
    if mistake == "computed again without the mask":
        A = softmax(Q @ K.T)
    dA, dV = dO @ V.T, A.T @ dO
    dS = dA if mistake == "left out with the mask" else jacobian(A, dA)
    return forward, loss, {"Wq": X.T @ (dS @ K), "Wk": X.T @ (dS.T @ Q), "Wv": X.T @ dV}, params


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ("computed again without the mask", "is not applied where softmax is computed again for the way back"),
        ("left out with the mask", "are left out"),
    ],
)
def test_a_mask_that_is_forgotten_is_named_with_its_line(mistake, words):
    forward, loss, gradient, params = attention(mistake)
    (cause, *_) = explain(loss, gradient, params)
    assert is_said(
        cause, f"the mask of line {line_of(forward, 'S = np.where')} {words}", line_of(forward, "A = softmax")
    )


def test_nothing_is_said_of_right_attention():
    _, loss, gradient, params = attention()
    assert explain(loss, gradient, params) == []
