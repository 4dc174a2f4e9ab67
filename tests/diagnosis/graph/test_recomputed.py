"""Values that are computed again for the way back: a term that is forgotten then is named."""

from __future__ import annotations

import numpy as np
import pytest
from searching import explain, is_said, line_of


def ratings(rng, mistake=""):
    """A product of factors and two biases, whose error is computed again for the gradient."""
    target = rng.normal(size=(6, 5))
    params = {"u": rng.normal(size=(6, 3)), "v": rng.normal(size=(5, 3)), "bu": rng.normal(size=(6, 1)),
              "bv": rng.normal(size=5)}  # fmt: skip

    def loss(p):
        e = target - (p["u"] @ p["v"].T + p["bu"] + p["bv"])
        return np.sum(e**2)

    def gradient(p):
        e = target - p["u"] @ p["v"].T
        if mistake != "both biases":
            e = e - p["bu"]
        if mistake == "":
            e = e - p["bv"]
        return {"u": -2 * e @ p["v"], "v": -2 * e.T @ p["u"], "bu": -2 * e.sum(axis=1, keepdims=True),
                "bv": -2 * e.sum(axis=0)}  # fmt: skip

    return loss, gradient, params


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mistake", ["one bias", "both biases"])
def test_an_error_that_is_computed_again_without_a_bias(mistake, seed):
    causes = explain(*ratings(np.random.default_rng(seed), mistake))
    terms = {"one bias": "lacks bv", "both biases": "lacks (bu and bv|bv and bu)"}[mistake]
    words = f"the derivative of square is taken at an argument that {terms}$"
    assert causes and is_said(causes[0], words, line_of(ratings, "return np.sum(e**2)")), causes


@pytest.mark.parametrize("seed", range(3))
def test_a_slope_that_is_computed_again_without_a_bias(seed):
    rng = np.random.default_rng(seed)
    x, c = rng.normal(size=(7, 3)), rng.normal(size=(7, 4))
    params = {"w": rng.normal(size=(3, 4)), "b": rng.normal(size=4)}

    def loss(p):
        return np.sum(c * np.tanh(x @ p["w"] + p["b"]))

    dz = c * (1 - np.tanh(x @ params["w"]) ** 2)
    (cause,) = explain(loss, {"w": x.T @ dz, "b": dz.sum(axis=0)}, params)
    assert cause.endswith("the derivative of tanh is taken at an argument that lacks b")


def test_nothing_is_said_of_right_ratings_and_of_noise():
    loss, gradient, params = ratings(np.random.default_rng(5))
    assert explain(loss, gradient, params) == []
    rng = np.random.default_rng(6)
    wrong = {name: array * (1 + 0.1 * rng.normal(size=array.shape)) for name, array in gradient(params).items()}
    assert explain(loss, wrong, params) == []
