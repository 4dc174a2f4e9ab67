"""Mistakes as courses and blogs have them: what is said names the expression of the source, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from searching import explain, is_said, line_of


def mixed(rng, mistake=""):
    """A gate that mixes two values, a normalisation with a bias before it, a penalty, and a mean."""
    n, d = 6, 4
    X, Y = rng.normal(size=(n, d)), rng.normal(size=(n, d))
    params = {"W": rng.normal(size=(d, d)), "b": rng.normal(size=d), "U": rng.normal(size=(d, d))}

    def loss(p):
        s = X @ p["W"] + p["b"]
        c = s - np.mean(s, axis=0)
        z = 1 / (1 + np.exp(-(c @ p["U"])))
        h = (1 - z) * X + z * np.tanh(c)
        return np.mean((h - Y) ** 2) + 0.5 * 0.1 * np.sum(p["W"] ** 2)

    def gradient(p):
        s = X @ p["W"] + p["b"]
        c = s - s.mean(axis=0)
        z = 1 / (1 + np.exp(-(c @ p["U"])))
        t = np.tanh(c)
        dh = 2 * ((1 - z) * X + z * t - Y) / Y.size
        dz = dh * t if mistake == "path" else dh * (t - X)
        du = dz * z * (1 - z)
        dc = du @ p["U"].T + dh * z * (1 - t if mistake == "tanh" else 1 - t**2)
        ds = dc if mistake == "mean" else dc - dc.mean(axis=0)
        strength = 0.137 if mistake == "strength" else 0.1
        return {"W": X.T @ ds + strength * p["W"], "b": ds.sum(axis=0), "U": c.T @ du}

    return loss, gradient, params


MISTAKES = {
    "path": (r"what goes back to `\(1 - z\) \* X` is left out", "h = (1 - z)"),
    "tanh": (r"tanh is taken for 1 - a, where a is its value: it is 1 - a²", "h = (1 - z)"),
    "strength": (r"the penalty of W has 1\.37 times its strength in the gradient", "return np.mean"),
    "mean": (r"is left out", "c = s - np.mean"),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_though_the_gradient_of_a_bias_is_zero(mistake, seed):
    words, piece = MISTAKES[mistake]
    (cause, *_) = explain(*mixed(np.random.default_rng(seed), mistake))
    assert is_said(cause, words, line_of(mixed, piece))


def test_nothing_is_said_of_the_right_gradient():
    assert explain(*mixed(np.random.default_rng(0))) == []


def classifier(rng, mistake=""):
    """A softmax with smoothed targets, of a leaky rectifier."""
    X, y = rng.normal(size=(7, 4)), rng.integers(0, 3, 7)
    params = {"W": rng.normal(size=(4, 5)), "V": rng.normal(size=(5, 3))}
    hot = np.eye(3)[y]
    targets = 0.1 / 3 + 0.9 * hot

    def loss(p):
        z = X @ p["W"]
        a = np.where(z > 0, z, 0.1 * z)
        s = a @ p["V"]
        logp = s - np.log(np.exp(s).sum(axis=1, keepdims=True))
        return -np.sum(targets * logp) / len(X)

    def gradient(p):
        z = X @ p["W"]
        a = np.where(z > 0, z, 0.1 * z)
        e = np.exp(a @ p["V"])
        of = {"one-hot": hot, "part": 0.9 * hot}.get(mistake, targets)
        ds = (e / e.sum(axis=1, keepdims=True) - of) / len(X)
        dz = ds @ p["V"].T * np.where(z > 0, 1, 0.01 if mistake == "leak" else 0.1)
        return {"W": X.T @ dz, "V": a.T @ ds}

    return loss, gradient, params


@pytest.mark.parametrize(
    ("mistake", "words", "piece"),
    [
        ("one-hot", "the targets are one-hot on the way back, not smoothed", "logp ="),
        ("part", "what smoothing adds to all targets .* is left out", "logp ="),
        ("leak", r"has the slope 0\.01 below 0, not 0\.1", "a = np.where"),
    ],
)
def test_what_a_classifier_forgets(mistake, words, piece):
    (cause, *_) = explain(*classifier(np.random.default_rng(1), mistake))
    assert is_said(cause, words, line_of(classifier, piece))


def decoder(rng, mistake=""):
    """A state that the turns of a loop change, and a value from before that each of them reads."""
    steps, d = 4, 3
    X, Y = rng.normal(size=d), rng.normal(size=(steps, d))
    params = {name: rng.normal(size=(d, d)) for name in ("A", "C", "U")}

    def loss(p):
        context = np.tanh(X @ p["A"])
        state, total = context, 0.0
        for t in range(steps):
            state = np.tanh(context @ p["C"] + state @ p["U"])
            total += np.sum((state - Y[t]) ** 2)
        return total

    def gradient(p):
        states = [np.tanh(X @ p["A"])]
        for _ in range(steps):
            states.append(np.tanh(states[0] @ p["C"] + states[-1] @ p["U"]))
        grads = {name: np.zeros_like(array) for name, array in p.items()}
        dcontext, dnext = np.zeros(d), np.zeros(d)
        for t in reversed(range(steps)):
            da = (2 * (states[t + 1] - Y[t]) + dnext) * (1 - states[t + 1] ** 2)
            grads["C"] += np.outer(states[0], da)
            grads["U"] += np.outer(states[t], da)
            dcontext = da @ p["C"].T if mistake == "overwritten" else dcontext + da @ p["C"].T
            dnext = da @ p["U"].T
        if mistake != "initial":
            dcontext = dcontext + dnext
        grads["A"] = np.outer(X, dcontext * (1 - states[0] ** 2))
        return grads

    return loss, gradient, params


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ("overwritten", r"of what all turns send back to `context` of line \d+ only that of the first counts"),
        ("initial", r"what goes back to `context` of line \d+ from the first turn of the loop is left out"),
    ],
)
def test_what_turns_send_back_to_a_value_from_before(mistake, words):
    (cause, *_) = explain(*decoder(np.random.default_rng(2), mistake))
    assert is_said(cause, words, line_of(decoder, "state = np.tanh("))
