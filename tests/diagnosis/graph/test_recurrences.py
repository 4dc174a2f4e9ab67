"""Mistakes of back-propagation through time: each is written into a backward pass by hand, and must be named."""

from __future__ import annotations

import numpy as np
import pytest
from searching import explain, is_said, line_of


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def lstm(rng, mistake=""):
    """An LSTM whose gates stand side by side; a cost at every time."""
    T, n, d, h = 6, 3, 2, 4
    x, y = rng.normal(size=(T, n, d)), rng.normal(size=(T, n, h))
    params = {"W": rng.normal(size=(d, 4 * h)), "U": 0.6 * rng.normal(size=(h, 4 * h)), "b": rng.normal(size=4 * h)}

    def forward(p):
        hs, cs, gates = np.zeros((T + 1, n, h)), np.zeros((T + 1, n, h)), []
        for t in range(T):
            z = x[t] @ p["W"] + hs[t] @ p["U"] + p["b"]
            i = sigmoid(z[:, :h])
            f = sigmoid(z[:, h : 2 * h])
            o = sigmoid(z[:, 2 * h : 3 * h])
            g = np.tanh(z[:, 3 * h :])
            cs[t + 1] = f * cs[t] + i * g
            hs[t + 1] = o * np.tanh(cs[t + 1])
            gates.append((i, f, o, g))
        return hs, cs, gates

    def loss(p):
        hs, _, _ = forward(p)
        total = 0.0
        for t in range(T):
            total += np.sum((hs[t + 1] - y[t]) ** 2)
        return total

    def gradient(p):
        hs, cs, gates = forward(p)
        grads = {name: np.zeros_like(array) for name, array in p.items()}
        dh_next, dc_next = np.zeros((n, h)), np.zeros((n, h))
        for t in reversed(range(T)):
            i, f, o, g = gates[t]
            cost = 2 * (hs[t + 1] - y[t])
            if mistake == "first cost left out" and t == 0:
                cost = 0 * cost
            dh = cost + dh_next
            if mistake == "state overwritten" and t < T - 1:
                dh = dh_next
            tc = np.tanh(cs[t + 1])
            do, dc = dh * tc, dh * o * (1 - tc**2) + dc_next
            before = cs[t + 1] if mistake == "own cell" else cs[t]
            df, di, dg = dc * before, dc * g, dc * i
            factor = gates[t + 1][1] if mistake == "next gate" and t + 1 < T else f
            factor = 0 * f if mistake == "next gate" and t + 1 == T else factor
            dc_next = dc * factor
            value = g if mistake != "slope of the turn before" else gates[t - 1][3] if t else 0 * g
            parts = [di * i * (1 - i), df * f * (1 - f), do * o * (1 - o), dg * (1 - value**2)]
            if mistake == "gates exchanged":
                parts[1], parts[2] = parts[2], parts[1]
            dz = np.concatenate(parts, axis=1)
            grads["W"] += x[t].T @ dz
            grads["U"] += (hs[t + 1] if mistake == "own state" else hs[t]).T @ dz
            grads["b"] += dz.sum(axis=0)
            dh_next = dz @ p["U"].T
            if mistake in ("cell not carried", "nothing carried") or (mistake == "detached" and t % 2 == 0):
                dc_next = 0 * dc_next
            if mistake in ("state not carried", "nothing carried") or (mistake == "detached" and t % 2 == 0):
                dh_next = 0 * dh_next
            if mistake == "stops" and t == T - 3:
                dh_next, dc_next = 0 * dh_next, 0 * dc_next
        return grads

    return loss, gradient, params


MISTAKES = {
    "nothing carried": (r"the states .* are not carried back to the turn before: truncated to 1 step", "hs[t + 1] = o"),
    "cell not carried": (r"what goes back to `cs\[t \+ 1\]` from the next turn is left out", "cs[t + 1] = f"),
    "state not carried": (r"what goes back to `hs\[t \+ 1\]` from the next turn is left out", "hs[t + 1] = o"),
    "state overwritten": (r"counts only if it comes from the next turn", "hs[t + 1] = o"),
    "detached": (r"the state is detached every 2 turns", "hs[t + 1] = o"),
    "stops": (r"back-propagation through time stops 3 turns before the end", "hs[t + 1] = o"),
    "first cost left out": (r"what the first turn adds is left out", "total += np.sum"),
    "own cell": (r"`cs\[t \+ 1\]` of line \d+ stands in the place of the factor", "cs[t + 1] = f"),
    "own state": (r"gradient of U is built with `hs\[t \+ 1\]` of line \d+ instead of", "z = x[t] @"),
    "next gate": (r"is built with the value of the next turn, in the place of `f`", "cs[t + 1] = f"),
    "slope of the turn before": (r"the derivative of tanh .* of the turn before", "g = np.tanh"),
    "gates exchanged": (r"parts .* are exchanged", "i = sigmoid("),
}


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 8))])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_time_is_named_with_its_line(mistake, seed):
    pattern, piece = MISTAKES[mistake]
    causes = explain(*lstm(np.random.default_rng(seed), mistake))
    assert causes and is_said(causes[0], pattern, line_of(lstm, piece)), causes


def truncated(rng, most=None, mistake=""):
    """A recurrent network in which each cost is propagated back through so many states, or all."""
    T, d, h, k = 7, 3, 4, 3
    x, y = rng.normal(size=(T, d)), rng.normal(size=(T, k))
    params = {"U": rng.normal(size=(h, d)), "W": 0.7 * rng.normal(size=(h, h)), "V": rng.normal(size=(k, h))}

    def states(p):
        s = np.zeros((T + 2, h))  # the states before the first are zero
        for t in range(T):
            s[t] = np.tanh(p["U"] @ x[t] + p["W"] @ s[t - 1])
        return s

    def loss(p):
        return 0.5 * np.sum((states(p)[:-2] @ p["V"].T - y) ** 2)

    def gradient(p):
        s = states(p)
        grads = {name: np.zeros_like(array) for name, array in p.items()}
        for t in range(T):
            error = (p["V"] @ s[t] - y[t]) * (0 if mistake == "last cost only" and t < T - 1 else 1)
            before = s[t - 1] if mistake == "output of the turn before" else s[t]
            grads["V"] += np.outer(error, before)
            delta = (p["V"].T @ error) * (1 - s[t] ** 2)
            if mistake == "slope of the state before":
                delta = (p["V"].T @ error) * (1 - s[t - 1] ** 2)
            for step in range(t, -1 if most is None else max(-1, t - most), -1):
                grads["W"] += np.outer(delta, s[step - 1])
                grads["U"] += np.outer(delta, x[step])
                slope = 1 - s[step - 2 if mistake == "slope of the state before" else step - 1] ** 2
                delta = ((p["W"] if mistake == "not transposed" else p["W"].T) @ delta) * slope
        return grads

    return loss, gradient, params


@pytest.mark.parametrize("most", [2, 3, 5])
def test_truncated_back_propagation_is_named_with_its_length(most):
    (cause, *_) = explain(*truncated(np.random.default_rng(most), most))
    pattern = f"back-propagation through time is truncated to {most} steps"
    assert is_said(cause, pattern, line_of(truncated, "s[t] = np.tanh"))


def test_a_matrix_that_is_not_transposed_between_the_turns_is_named():
    (cause, *_) = explain(*truncated(np.random.default_rng(0), None, "not transposed"))
    assert is_said(
        cause, "W is not transposed on the way back to `s.t.` .one turn before.", line_of(truncated, "s[t] =")
    )


def test_outputs_built_with_the_stacked_states_of_the_turn_before_are_named():
    (cause, *_) = explain(*truncated(np.random.default_rng(0), None, "output of the turn before"))
    assert is_said(
        cause, "what goes back to V is built with .*one turn before.* instead of", line_of(truncated, "return 0.5")
    )


def test_a_derivative_taken_at_the_state_of_the_turn_before_is_named():
    (cause, *_) = explain(*truncated(np.random.default_rng(0), None, "slope of the state before"))
    assert is_said(cause, "the derivative of tanh .* of the turn before", line_of(truncated, "s[t] = np.tanh"))


def test_costs_of_which_only_the_last_counts_are_named():
    (cause, *_) = explain(*truncated(np.random.default_rng(0), None, "last cost only"))
    assert is_said(cause, "of the 7 samples or positions .* only the last counts", line_of(truncated, "return 0.5"))


@pytest.mark.parametrize("make", [lstm, truncated])
def test_nothing_is_said_of_right_gradients_and_of_noise(make):
    loss, gradient, params = make(np.random.default_rng(3))
    assert explain(loss, gradient, params) == []
    rng = np.random.default_rng(6)
    wrong = {name: array * (1 + 0.1 * rng.normal(size=array.shape)) for name, array in gradient(params).items()}
    assert explain(loss, lambda _: wrong, params) == []
