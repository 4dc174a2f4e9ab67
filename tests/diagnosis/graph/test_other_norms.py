"""Normalisations whose way back has another mean, another divisor, or is left out."""

from __future__ import annotations

import numpy as np
import pytest
from searching import explain, is_said, line_of


def normalised(rng, mistake=""):
    """Layer normalisation with its ε outside of the root, then rows that are divided by their lengths."""
    x, c = rng.normal(size=(6, 4)), rng.normal(size=(6, 5))
    params = {"w": rng.normal(size=(4, 5)), "v": rng.normal(size=(5, 5))}

    def forward(p):
        z = x @ p["w"]
        s = z.std(axis=1, keepdims=True)
        e = s + 0.01
        n = (z - z.mean(axis=1, keepdims=True)) / e
        h = n @ p["v"]
        size = np.sqrt(np.sum(h * h, axis=1, keepdims=True))
        return z, s, e, n, h, size

    def loss(p):
        *_, h, size = forward(p)
        u = h / size
        return np.sum(c * u)

    def gradient(p):
        z, s, e, n, h, size = forward(p)
        u = h / size
        dh = (c - u * np.sum(c * u, axis=1, keepdims=True)) / size
        if mistake == "skipped":
            dh = c
        dn = dh @ p["v"].T
        centred = z - z.mean(axis=1, keepdims=True)
        ds = -np.sum(dn * centred, axis=1, keepdims=True) / e**2
        dc = dn / (s if mistake == "divisor" else e)
        if mistake == "other mean":
            dc = dc + ds * centred / (5 * s)
            dz = dc - dc.mean(axis=0, keepdims=True)
        else:
            mean = (dn / e).mean(axis=1, keepdims=True)
            dz = dc + ds * centred / (5 * s) - mean
        return {"w": x.T @ dz, "v": n.T @ dh}

    return loss, gradient, params


MISTAKES = {
    "skipped": (r"the normalisation is left out on the way back", "u = h / size"),
    "divisor": (r"back past the mean is divided by `s` of line \d+, not by `e` of line \d+", "n = (z - z.mean"),
    "other mean": (r"the mean of all that goes back is along axis 0, not 1", "n = (z - z.mean"),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_normalisation_of_any_form(mistake, seed):
    pattern, piece = MISTAKES[mistake]
    causes = explain(*normalised(np.random.default_rng(seed), mistake))
    assert causes and is_said(causes[0], pattern, line_of(normalised, piece)), causes


def test_nothing_is_said_of_right_norms_and_of_noise():
    loss, gradient, params = normalised(np.random.default_rng(5))
    assert explain(loss, gradient, params) == []
    rng = np.random.default_rng(6)
    wrong = {name: array * (1 + 0.1 * rng.normal(size=array.shape)) for name, array in gradient(params).items()}
    assert explain(loss, wrong, params) == []
