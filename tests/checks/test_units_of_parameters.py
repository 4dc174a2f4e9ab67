"""Gradients are judged the same whatever the units of the parameters are."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf

FUNCTIONS = {
    "ratio": (lambda x, unit: x / unit, lambda x, unit: np.full_like(x, 1.0 / unit)),
    "square": (lambda x, unit: (x / unit) ** 2, lambda x, unit: 2.0 * x / unit**2),
    "logarithm": (lambda x, unit: np.log(x), lambda x, unit: 1.0 / x),
    "root": (lambda x, unit: np.sqrt(x), lambda x, unit: 0.5 / np.sqrt(x)),
    "sine": (lambda x, unit: np.sin(x / unit), lambda x, unit: np.cos(x / unit) / unit),
}


@pytest.mark.parametrize("unit", [1e-20, 1e-6, 1.0, 1e6, 1e13, 1e17, 1e20, 1e100])
@pytest.mark.parametrize(("f", "slope"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_large_and_small_parameters(f, slope, unit):
    x = np.array([3.0, 2.5]) * unit
    loss = lambda x: np.sum(f(x, unit))
    assert gf.gradcheck(loss, slope(x, unit), x).verdict == "PASS"
    for factor in (-1.0, 2.0, 1.0 + 1e-6):
        assert gf.gradcheck(loss, factor * slope(x, unit), x).wrong == 2


def test_a_wrong_gradient_beside_one_that_is_much_larger():
    T, n = np.array([300.0, 310.0]), np.array([3e20, 2.5e20])  # a temperature and a density
    f = lambda T, n: (np.log(T), n / 1e20)
    report = gf.check_vjp(f, lambda v, T, n: (v[0] / T, -v[1] / 1e20), (T, n))
    assert (report.verdict, {entry.array for entry in report.worst()}) == ("FAIL", {"inputs[1]"})
    assert gf.check_vjp(f, lambda v, T, n: (v[0] / T, v[1] / 1e20), (T, n)).ok


def test_costs_as_small_as_numbers_go():
    x = np.arange(1.0, 4.0) * 1e-300
    report = gf.check_vjp(np.sin, lambda v, x: v * np.cos(x), x)
    assert (report.verdict, report.method, report.notes) == ("PASS", "chain", ())
    assert gf.check_vjp(np.sin, lambda v, x: 1.01 * v * np.cos(x), x).wrong == 3
