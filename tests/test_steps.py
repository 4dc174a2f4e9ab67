"""Steps for functions of every scale: also of parameters far below 1, and of what larger steps pass over."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf

FUNCTIONS = {
    "sine": (np.sin, np.cos),
    "gaussian": (lambda u: np.exp(-u * u), lambda u: -2 * u * np.exp(-u * u)),
    "lorentzian": (lambda u: 1 / (1 + u * u), lambda u: -2 * u / (1 + u * u) ** 2),
    "tanh": (np.tanh, lambda u: 1 / np.cosh(u) ** 2),
    "logarithm": (lambda u: np.log(np.abs(u)), lambda u: 1 / u),
    "root": (lambda u: np.sqrt(np.abs(u)), lambda u: np.sign(u) / 2 / np.sqrt(np.abs(u))),
}
SCALES = [1e-30, 1e-20, 1e-14, 1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e4, 1e12]


def scaled(name, scale, beside=0.0):
    """A function of real arrays only that changes over `scale`, and what is to be added to it; and its gradient."""
    f, slope = FUNCTIONS[name]

    def loss(p):
        return float(np.sum(f(p.astype(float) / scale)) + beside * np.sum(p.astype(float)))

    def real(p):
        if np.iscomplexobj(p):
            raise TypeError("real arrays only")
        return loss(p)

    return real, lambda p: slope(p / scale) / scale + beside


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_any_scale(name, scale):
    """At parameters of that size: a right gradient is never wrong, and one that is off by 1 % always."""
    loss, gradient = scaled(name, scale)
    for seed in range(3):
        x = scale * np.random.default_rng(seed).normal(size=5)
        right = gradient(x)
        assert gf.gradcheck(loss, right, x).verdict == "PASS"
        wrong = right.copy()
        wrong[np.argmax(np.abs(right))] *= 1.01
        assert gf.gradcheck(loss, wrong, x).verdict == "FAIL"
        found, bars = gf.numerical_gradient(loss, x, error_bars=True)
        assert (np.abs(found - right) <= bars).all()


@pytest.mark.parametrize("scale", [1e-12, 1e-9, 1e-6])
def test_a_narrow_peak_on_a_slope(scale):
    """Larger steps all agree on the slope, and do not see the peak."""
    loss, gradient = scaled("gaussian", scale, beside=1.0)
    x = scale * np.random.default_rng(0).normal(size=5)
    assert gf.gradcheck(loss, gradient(x), x).verdict == "PASS"


def test_what_no_step_can_resolve_is_not_decided():
    """It turns a dozen times within the smallest step of parameters of about 1."""
    loss, gradient = scaled("sine", 1e-12)
    for seed in range(10):
        x = np.random.default_rng(seed).normal(size=5)
        assert gf.gradcheck(loss, gradient(x), x).verdict != "FAIL"


def test_at_a_jump_the_first_difference_is_kept():
    """It is the least of them; they go on growing as steps get smaller."""
    found = gf.numerical_gradient(lambda p: float(np.sum(p)) + 1e-6 * float(p[0] > 0.0), np.zeros(3))
    assert abs(found[0] - 1.0) < 0.1
    np.testing.assert_allclose(found[1:], 1.0, rtol=1e-9)
