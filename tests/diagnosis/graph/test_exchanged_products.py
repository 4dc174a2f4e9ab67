"""Arrays that stand in each other's place in products, and uses of an array that are transposed."""

from __future__ import annotations

import numpy as np
import pytest
from searching import explain, is_said, line_of


def gated(rng, mistake=""):
    """Two layers of a gate and a candidate, each with matrices of its own in lists."""
    x, c = rng.normal(size=(6, 4)), rng.normal(size=(6, 4))
    params = {"a": [rng.normal(size=(4, 4)) for _ in range(2)], "g": [rng.normal(size=(4, 4)) for _ in range(2)],
              "o": rng.normal(size=(4, 4))}  # fmt: skip

    def forward(p):
        h, kept = x @ p["o"], []
        for a, g in zip(p["a"], p["g"], strict=True):
            t = np.tanh(h @ a)
            s = 1 / (1 + np.exp(-(h @ g)))
            kept.append((h, t, s))
            h = h + s * t
        return h, kept

    def loss(p):
        return np.sum(c * forward(p)[0])

    def gradient(p):
        _, kept = forward(p)
        dh, found = c, {"a": [], "g": []}
        for (h, t, s), a, g in list(zip(kept, p["a"], p["g"], strict=True))[::-1]:
            dt, ds = dh * (1 - s if mistake == "complement" else s) * (1 - t * t), dh * t * s * (1 - s)
            found["a"].insert(0, h.T @ dt)
            found["g"].insert(0, h.T @ ds)
            back = {"exchanged": (g, a), "one for both": (g, g)}.get(mistake, (a, g))
            dh = dh + dt @ back[0].T + ds @ back[1].T
        return {**found, "o": x.T @ dh}

    return loss, gradient, params


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mistake", ["exchanged", "one for both"])
def test_matrices_of_layers_that_are_exchanged_on_the_way_back(mistake, seed):
    causes = explain(*gated(np.random.default_rng(seed), mistake))
    words = {
        "exchanged": r"a\[0\] or a\[1\] and g\[0\] or g\[1\], .* are exchanged on the way back",
        "one for both": r"on the way back g\[0\] or g\[1\] is in the place of a\[0\] or a\[1\]",
    }[mistake]
    assert causes and is_said(causes[0], words, line_of(gated, "t = np.tanh(h @ a)")), causes


@pytest.mark.parametrize("seed", range(3))
def test_a_factor_that_is_another_one_in_every_layer(seed):
    causes = explain(*gated(np.random.default_rng(seed), "complement"))
    words = r"1 - `s` of line \d+ stands in the place of the factor \(`s` of line \d+\) in what goes back to `t`"
    assert causes and is_said(causes[0], words, line_of(gated, "h = h + s * t")), causes


def pairs(rng, mistake=""):
    """Products of rows of two tables, and transitions between states that are added and looked up."""
    rows, columns = rng.integers(0, 5, 9), rng.integers(0, 6, 9)
    target, weight, states = rng.normal(size=9), rng.normal(size=(4, 4)), np.array([0, 2, 1, 3, 3, 2])
    weight[0] += 1.0
    params = {"u": rng.normal(size=(5, 3)), "v": rng.normal(size=(6, 3)), "m": rng.normal(size=(4, 4))}

    def loss(p):
        e = np.sum(p["u"][rows] * p["v"][columns], axis=1) - target
        scores = np.sum(weight * np.exp(p["m"]))
        picked = np.sum(p["m"][states[:-1], states[1:]])
        return np.sum(e**2) + scores + picked

    def gradient(p):
        u, v = p["u"][rows], p["v"][columns]
        e = 2 * (np.sum(u * v, axis=1) - target)[:, np.newaxis]
        du, dv, dm = np.zeros_like(p["u"]), np.zeros_like(p["v"]), weight * np.exp(p["m"])
        np.add.at(du, rows, e * (u if mistake == "own factor" else v))
        np.add.at(dv, columns, e * u)
        at = (states[1:], states[:-1]) if mistake == "swapped indices" else (states[:-1], states[1:])
        np.add.at(dm, at, 1.0)
        return {"u": du, "v": dv, "m": dm}

    return loss, gradient, params


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mistake", ["own factor", "swapped indices"])
def test_a_factor_in_the_place_of_the_other_and_indices_in_each_others_place(mistake, seed):
    causes = explain(*pairs(np.random.default_rng(seed), mistake))
    words, piece = {
        "own factor": (r"what goes back to u is built with u itself instead of v", "e = np.sum("),
        "swapped indices": (r"what goes back from here to m is transposed", "picked = "),
    }[mistake]
    assert causes and is_said(causes[0], words, line_of(pairs, piece)), causes


@pytest.mark.parametrize("problem", [gated, pairs])
def test_nothing_is_said_of_right_products_and_of_noise(problem):
    loss, gradient, params = problem(np.random.default_rng(5))
    assert explain(loss, gradient, params) == []
    rng = np.random.default_rng(6)

    def noisy(tree):
        if isinstance(tree, dict):
            return {name: noisy(part) for name, part in tree.items()}
        return [noisy(part) for part in tree] if isinstance(tree, list) else tree * (1 + rng.normal(size=tree.shape))

    assert explain(loss, noisy(gradient(params)), params) == []
