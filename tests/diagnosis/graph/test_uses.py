"""Sums of which some parts do not count: each is written into a backward pass by hand, and must be named."""

from __future__ import annotations

import numpy as np
import pytest
from searching import explain, is_said, line_of


def over_time(rng, mistake=""):
    """A recurrent network, from right to left on the way back; gradients of each turn are added, or not."""
    T, n, d, h = 5, 3, 3, 4
    x, y = rng.normal(size=(T, n, d)), rng.normal(size=(n, h))
    params = {"W": rng.normal(size=(d, h)), "U": 0.7 * rng.normal(size=(h, h)), "b": rng.normal(size=h)}

    def states(p):
        h_t = [np.zeros((n, h))]
        for t in range(T):
            h_t.append(np.tanh(x[t] @ p["W"] + h_t[-1] @ p["U"] + p["b"]))
        return h_t

    def loss(p):
        return 0.5 * np.sum((states(p)[-1] - y) ** 2)

    def gradient(p):
        h_t = states(p)
        grads = {name: np.zeros_like(array) for name, array in p.items()}
        dh = h_t[-1] - y
        for t in reversed(range(T)):
            dz = dh * (1 - h_t[t + 1] ** 2)
            parts = {"W": x[t].T @ dz, "U": h_t[t].T @ dz, "b": dz.sum(axis=0)}
            for name, part in parts.items():
                if mistake == "overwritten" or (mistake == "bias overwritten" and name == "b"):
                    grads[name] = part
                elif not (mistake == "first left out" and t == 0) and not (mistake == "second left out" and t == 1):
                    grads[name] = grads[name] + part * (1 / (t + 1) if mistake == "weighted" else 1)
            dh = dz @ p["U"].T
        return grads

    return loss, gradient, params


IN_TIME = {
    "bias overwritten": r"gradient of b, of the 5 turns of the loop, only the first counts.*= for \+=",
    "first left out": r"gradient of W, b, of the 5 turns of the loop, the first does not count",
    "second left out": r"gradient of .*, of the 5 turns of the loop, counted from 0, 1 does not count",
    "weighted": r"of the 5 turns of the loop, each counts with another weight: 1, 0\.5, 0\.3333",
    "overwritten": r"gradient of .*W.*, of the 5 turns of the loop, only the first counts",
}


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 8))])
@pytest.mark.parametrize("mistake", IN_TIME)
def test_turns_that_do_not_count_are_named(mistake, seed):
    causes = explain(*over_time(np.random.default_rng(seed), mistake))
    assert causes and is_said(causes[0], IN_TIME[mistake], line_of(over_time, "h_t.append")), causes


def over_samples(rng, mistake=""):
    """Two layers; columns are samples."""
    n, d, h = 7, 4, 5
    X, Y = rng.normal(size=(d, n)), rng.normal(size=(2, n))
    params = {"W1": rng.normal(size=(h, d)), "b1": rng.normal(size=(h, 1)), "W2": rng.normal(size=(2, h))}

    def loss(p):
        a = np.tanh(p["W1"] @ X + p["b1"])
        return np.sum((p["W2"] @ a - Y) ** 2)

    def gradient(p):
        a = np.tanh(p["W1"] @ X + p["b1"])
        d2 = 2 * (p["W2"] @ a - Y)
        if mistake == "weights":
            d2 = d2 * np.linspace(0.5, 2.0, n)
        if mistake == "one":
            d2[:, 4] = 0
        d1 = (p["W2"].T @ d2) * (1 - a**2)
        own = d1[:, :-1] if mistake == "in one array" else d1
        return {"W1": own @ X[:, : own.shape[1]].T, "b1": d1.sum(axis=1, keepdims=True), "W2": d2 @ a.T}

    return loss, gradient, params


BY_SAMPLE = {
    "one": r"gradient of W1, b1, W2, of the 7 samples .*, counted from 0, 4 does not count",
    "in one array": r"gradient of W1, of the 7 samples .*, the last does not count",
    "weights": r"of the 7 samples .*, each counts with another weight: 0\.5, 0\.75, 1,",
}


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 8))])
@pytest.mark.parametrize("mistake", BY_SAMPLE)
def test_samples_that_do_not_count_are_named(mistake, seed):
    causes = explain(*over_samples(np.random.default_rng(seed), mistake))
    assert causes and is_said(causes[0], BY_SAMPLE[mistake], line_of(over_samples, "a = np.tanh")), causes


def rows_in_turn(rng, mistake=""):
    """Rows of a table are read one by one, some of them more than once."""
    words = np.array([2, 0, 2, 1, 0, 2])
    y = rng.normal(size=(len(words), 3))
    params = {"E": rng.normal(size=(4, 5)), "V": rng.normal(size=(5, 3))}

    def loss(p):
        total = 0.0
        for t, word in enumerate(words):
            e = p["E"][word]
            total += np.sum((np.tanh(e @ p["V"]) - y[t]) ** 2)
        return total

    def gradient(p):
        grads = {name: np.zeros_like(array) for name, array in p.items()}
        for t, word in enumerate(words):
            e = p["E"][word]
            out = np.tanh(e @ p["V"])
            dz = 2 * (out - y[t]) * (1 - out**2)
            grads["V"] += np.outer(e, dz)
            grads["E"][word] = p["V"] @ dz + (0 if mistake else grads["E"][word])
        return grads

    return loss, gradient, params


def test_rows_that_are_overwritten_turn_by_turn_are_named():
    causes = explain(*rows_in_turn(np.random.default_rng(0), "overwritten"))
    assert causes and is_said(causes[0], r"overwritten.*only the last", line_of(rows_in_turn, 'e = p["E"][word]')), (
        causes
    )


def test_weights_of_samples_are_not_named_where_a_layer_above_is_right():
    loss, gradient, params = over_samples(np.random.default_rng(5))
    wrong = dict(over_samples(np.random.default_rng(5), "weights")[1](params))
    wrong["W2"] = gradient(params)["W2"]
    assert not any("another weight" in cause for cause in explain(loss, lambda _: wrong, params))


@pytest.mark.parametrize("make", [over_time, over_samples, rows_in_turn])
def test_nothing_is_said_of_right_gradients_and_of_noise(make):
    loss, gradient, params = make(np.random.default_rng(3))
    assert explain(loss, gradient, params) == []
    rng = np.random.default_rng(6)
    wrong = {name: array * (1 + 0.1 * rng.normal(size=array.shape)) for name, array in gradient(params).items()}
    assert explain(loss, lambda _: wrong, params) == []
