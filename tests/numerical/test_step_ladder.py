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
        assert gf.gradcheck(loss, right, x, trace=False).verdict == "PASS"
        wrong = right.copy()
        wrong[np.argmax(np.abs(right))] *= 1.01
        assert gf.gradcheck(loss, wrong, x, trace=False).verdict == "FAIL"
        found, bars = gf.numerical_gradient(loss, x, error_bars=True, trace=False)
        assert (np.abs(found - right) <= bars).all()


@pytest.mark.parametrize("scale", [1e-12, 1e-9, 1e-6])
def test_a_narrow_peak_on_a_slope(scale):
    """Larger steps all agree on the slope, and do not see the peak."""
    loss, gradient = scaled("gaussian", scale, beside=1.0)
    x = scale * np.random.default_rng(0).normal(size=5)
    assert gf.gradcheck(loss, gradient(x), x, trace=False).verdict == "PASS"


def test_what_no_step_can_resolve_is_not_decided():
    """It turns a dozen times within the smallest step of parameters of about 1."""
    loss, gradient = scaled("sine", 1e-12)
    for seed in range(10):
        x = np.random.default_rng(seed).normal(size=5)
        assert gf.gradcheck(loss, gradient(x), x, trace=False).verdict != "FAIL"


def test_at_a_jump_the_first_difference_is_kept():
    """It is the least of them; they go on growing as steps get smaller."""
    found = gf.numerical_gradient(lambda p: float(np.sum(p)) + 1e-6 * float(p[0] > 0.0), np.zeros(3), trace=False)
    assert abs(found[0] - 1.0) < 0.1
    np.testing.assert_allclose(found[1:], 1.0, rtol=1e-9)


@pytest.mark.parametrize(
    "f, slope",
    [
        (lambda p: np.sum(p / (p + 1e-8)), lambda p: 1e-8 / (p + 1e-8) ** 2),
        (lambda p: np.sum(np.sqrt(np.abs(p))), lambda p: 0.5 / np.sqrt(p)),
        (lambda p: -np.sum(p / p.sum() * np.log(p / p.sum())), lambda p: -(np.log(p / p.sum()) + entropy(p)) / p.sum()),
        (lambda p: 1.0 + np.sum(1 / (1 + (p / 1e-9) ** 2)), lambda p: -2e18 * p / (1 + (p / 1e-9) ** 2) ** 2),
    ],
    ids=["saturation", "roots", "entropy", "peaks"],
)
def test_parameters_of_very_different_sizes(f, slope):
    for seed in range(8):
        p = 10.0 ** np.random.default_rng(seed).uniform(-9, -7 if seed % 2 else 0, 6)
        with np.errstate(invalid="ignore"):
            report = gf.gradcheck(lambda p: float(f(p.astype(float))), slope(p), p, trace=False)
        assert report.verdict == "PASS", (seed, str(report))


def entropy(p):
    q = p / p.sum()
    return -np.sum(q * np.log(q))


def test_a_first_step_that_overflows():
    x = np.array([1.3, 0.2]) * 1e-9

    def loss(p):
        with np.errstate(over="ignore"):
            return float(np.sum(np.exp(p.astype(float) / 1e-9)))

    right = np.exp(x / 1e-9) / 1e-9
    assert gf.gradcheck(loss, right, x, trace=False).verdict == "PASS"
    assert gf.gradcheck(loss, 1.001 * right, x, trace=False).verdict == "FAIL"


def test_what_is_less_than_noise_at_a_parameter_s_size_is_in_its_bar():
    """|p|^1.5 changes by 1e-18 over a p of 1e-12, beside values of 10."""
    p = np.array([1e-12, 2.0, 3.0])
    loss = lambda p: float(np.sum(np.abs(p.astype(float)) ** 1.5))
    found, bars = gf.numerical_gradient(loss, p, error_bars=True, trace=False)
    assert (np.abs(found - 1.5 * np.sqrt(p)) <= bars).all()
    assert bars[1] < 1e-8 < bars[0]
