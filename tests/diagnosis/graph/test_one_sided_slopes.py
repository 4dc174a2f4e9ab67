"""Derivatives that are wrong in what goes back to one of the two values that a function is taken of."""

from __future__ import annotations

import numpy as np
import pytest
from searching import explain, is_said, line_of


def kernels(rng, mistake=""):
    """Radial functions of distances over widths of their own."""
    x, c = rng.normal(size=(8, 3)), rng.normal(size=(8, 4))
    params = {"m": rng.normal(size=(4, 3)), "s": rng.normal(size=4)}

    def loss(p):
        far = np.sum((x[:, None, :] - p["m"]) ** 2, axis=2)
        width = 1 + p["s"] ** 2
        return np.sum(c * np.exp(-far / width))

    def gradient(p):
        apart = x[:, None, :] - p["m"]
        far, width = np.sum(apart**2, axis=2), 1 + p["s"] ** 2
        phi = np.exp(-far / width)
        dfar = -c / width * (1 if mistake == "to the distances" else phi)
        dwidth = np.sum(c * far / width**2 * (1 if mistake == "to the widths" else phi), axis=0)
        return {"m": -2 * np.sum(dfar[:, :, None] * apart, axis=0), "s": dwidth * 2 * p["s"]}

    return loss, gradient, params


MISTAKES = {
    "to the distances": r"the derivative of exp is left out in what goes back to `-far`",
    "to the widths": r"the derivative of exp is left out in what goes back to (`width`|`1 \+ p\[.s.\] \*\* 2`)",
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_derivative_that_is_left_out_on_one_side(mistake, seed):
    causes = explain(*kernels(np.random.default_rng(seed), mistake))
    assert causes and is_said(causes[0], MISTAKES[mistake], line_of(kernels, "return np.sum(c * np.exp(")), causes


def test_nothing_is_said_of_right_kernels_and_of_noise():
    loss, gradient, params = kernels(np.random.default_rng(5))
    assert explain(loss, gradient, params) == []
    rng = np.random.default_rng(6)
    wrong = {name: array * (1 + 0.1 * rng.normal(size=array.shape)) for name, array in gradient(params).items()}
    assert explain(loss, wrong, params) == []
