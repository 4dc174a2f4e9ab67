"""Differential equations in steps of time, whose backward pass reads the wrong place or time of the trajectory."""

from __future__ import annotations

import numpy as np
import pytest
from searching import explain, is_said, line_of


def solved(rng, mistake=""):
    """Euler's method, and its adjoint equation, which computes the right-hand side again from the trajectory."""
    x, c = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    params = {"w": rng.normal(size=(3, 3)), "u": rng.normal(size=3), "b": rng.normal(size=3)}

    def path(p):
        h, found = x, [x]
        for n in range(6):
            h = h + 0.25 * np.tanh(h @ p["w"] + n * 0.25 * p["u"] + p["b"])
            found.append(h)
        return found

    def loss(p):
        return np.sum(c * path(p)[-1])

    def gradient(p):
        found, states, back = {name: np.zeros_like(array) for name, array in p.items()}, path(p), c
        for n in reversed(range(6)):
            h = states[n + 1 if mistake == "place" else n]
            f = np.tanh(h @ p["w"] + n * 0.25 * p["u"] + p["b"])
            dz = 0.25 * back * (1 - f * f)
            found["w"] += h.T @ dz
            found["u"] += (n + 1 if mistake == "time" else n) * 0.25 * dz.sum(axis=0)
            found["b"] += dz.sum(axis=0)
            back = back + dz @ p["w"].T
        return found

    return loss, gradient, params


MISTAKES = {
    "place": r"`h` of the turn after stands in the place of that of the turn in all that is computed again",
    "time": r"what goes back to u is built with the value of the next turn",
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_trajectory_that_is_read_one_step_too_far(mistake, seed):
    causes = explain(*solved(np.random.default_rng(seed), mistake))
    assert causes and is_said(causes[0], MISTAKES[mistake], line_of(solved, "h = h + 0.25")), causes


def test_nothing_is_said_of_a_right_trajectory_and_of_noise():
    loss, gradient, params = solved(np.random.default_rng(5))
    assert explain(loss, gradient, params) == []
    rng = np.random.default_rng(6)
    wrong = {name: array * (1 + 0.1 * rng.normal(size=array.shape)) for name, array in gradient(params).items()}
    assert explain(loss, wrong, params) == []
