"""Mistakes with factors and divisors: each is written into a backward pass by hand, and must be named with its line."""

from __future__ import annotations

import numpy as np
import pytest
from searching import explain, is_said, line_of


def network(rng, mistake=""):
    """A gate, a mask with its scale, an attention-like scale, and a mean."""
    n, d, h = 9, 5, 4
    X, Y = rng.normal(size=(n, d)), rng.normal(size=(n, n))
    mask = (rng.random((n, h)) < 0.6).astype(float)
    params = {name: rng.normal(size=(d, h)) for name in ("Wf", "Wg", "Wk")}

    def forward(p):
        f = 1 / (1 + np.exp(-(X @ p["Wf"])))
        g = np.tanh(X @ p["Wg"])
        c = f * g
        m = c * mask
        q = m / 0.7
        k = X @ p["Wk"]
        s = q @ k.T
        s = s * 0.125
        return f, g, c, q, k, s

    def loss(p):
        s = forward(p)[-1]
        return np.sum((s - Y) ** 2) / n

    def gradient(p):
        f, g, c, q, k, s = forward(p)
        ds = 2 * (s - Y) / (1 if mistake == "divisor" else n)
        ds = ds * {"scale": 1.0, "scale twice": 0.125**2}.get(mistake, 0.125)
        dq, dk = ds @ k, ds.T @ q
        dm = dq * (0.7 if mistake == "multiplied by the divisor" else 1 / 0.7)
        dc = dm if mistake == "mask" else dm * mask
        if mistake == "mask and scale":
            dc = dq
        df, dg = dc * g, dc * f
        if mistake == "gate":
            dg = dc
        if mistake == "gate's complement":
            dg = dc * (1 - f)
        if mistake == "another value":
            df = dc * c
        if mistake == "own value":
            dg = dc * g
        return {"Wf": X.T @ (df * f * (1 - f)), "Wg": X.T @ (dg * (1 - g**2)), "Wk": X.T @ dk}

    return loss, gradient, params


MISTAKES = {
    "scale": (r"constant factor 0\.125 is left out", "s = s * 0.125"),
    "scale twice": (r"constant factor 0\.125 is applied twice", "s = s * 0.125"),
    "multiplied by the divisor": (r"constant divisor 0\.7 is a factor", "q = m / 0.7"),
    "mask": (r"constant factor \(`mask`\) is left out", "m = c * mask"),
    "mask and scale": (r"all constant factors and divisors up to `c` of line \d+ are left out", "q = m / 0.7"),
    "gate": (r"factor \(`f` of line \d+\) is left out in what goes back to `g`", "c = f * g"),
    "gate's complement": (r"1 - `f` of line \d+ stands in the place of", "c = f * g"),
    "another value": (r"`c` of line \d+ stands in the place of the factor \(`g`", "c = f * g"),
    "own value": (r"`g` of line \d+ stands in the place of the factor \(`f`", "c = f * g"),
    "divisor": (r"constant divisor 9 is left out|division by 9 \(`n`\) is left out|not divided by 9", "return np.sum("),
}


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 8))])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_with_a_factor_is_named_with_its_line(mistake, seed):
    pattern, piece = MISTAKES[mistake]
    causes = explain(*network(np.random.default_rng(seed), mistake))
    assert causes and is_said(causes[0], pattern, line_of(network, piece)), causes


def test_nothing_is_said_of_right_gradients_and_of_noise():
    loss, gradient, params = network(np.random.default_rng(3))
    assert explain(loss, gradient, params) == []
    rng = np.random.default_rng(6)
    wrong = {name: array * (1 + 0.1 * rng.normal(size=array.shape)) for name, array in gradient(params).items()}
    assert explain(loss, lambda _: wrong, params) == []
