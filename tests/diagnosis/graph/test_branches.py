"""Choices between two values: one branch that is differentiated everywhere is named with the line of the choice."""

from __future__ import annotations

import numpy as np
import pytest
from searching import explain, is_said, line_of


def huber(rng, mistake=""):
    """A layer and a robust cost: squares of small errors, sizes of large ones."""
    x, y = rng.normal(size=(12, 3)), 2 * rng.normal(size=(12, 2))
    params = {"w": rng.normal(size=(3, 2)), "b": rng.normal(size=2)}

    def loss(p):
        e = np.tanh(x @ p["w"]) + p["b"] - y
        size = np.sqrt(e**2 + 0.1)
        return np.sum(np.where(np.abs(e) < 1, e**2 / 2, size - 0.5))

    def gradient(p):
        a = np.tanh(x @ p["w"])
        e = a + p["b"] - y
        linear = e / np.sqrt(e**2 + 0.1)
        de = np.where(np.abs(e) < 1, e, linear)
        if mistake == "always the first":
            de = e
        if mistake == "always the second":
            de = linear
        return {"w": x.T @ (de * (1 - a * a)), "b": de.sum(axis=0)}

    return loss, gradient, params


MISTAKES = {
    "always the first": r"`e\*\*2 / 2` is differentiated everywhere, also where `size - 0\.5` is chosen",
    "always the second": r"`size - 0\.5` is differentiated everywhere, also where `e\*\*2 / 2` is chosen",
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mistake", MISTAKES)
def test_one_branch_that_is_differentiated_everywhere(mistake, seed):
    causes = explain(*huber(np.random.default_rng(seed), mistake))
    assert causes and is_said(causes[0], MISTAKES[mistake], line_of(huber, "np.where(np.abs(e) < 1, e**2 / 2")), causes


def test_a_rectifier_that_is_a_choice_is_still_called_by_its_name():
    rng = np.random.default_rng(1)
    x, c = rng.normal(size=(9, 3)), rng.normal(size=(9, 4))
    params = {"w": rng.normal(size=(3, 4))}

    def loss(p):
        z = x @ p["w"]
        return np.sum(c * np.where(z > 0, z, 0.2 * z))

    (cause,) = explain(loss, {"w": x.T @ c}, params)
    assert cause.endswith("the derivative of leaky_relu with slope 0.2 is left out")


def test_nothing_is_said_of_a_right_gradient_and_of_noise():
    loss, gradient, params = huber(np.random.default_rng(5))
    assert explain(loss, gradient, params) == []
    rng = np.random.default_rng(6)
    wrong = {name: array * (1 + 0.1 * rng.normal(size=array.shape)) for name, array in gradient(params).items()}
    assert explain(loss, wrong, params) == []
