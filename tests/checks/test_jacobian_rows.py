"""check_jacobian: each row is judged by its own scale, however much larger others are."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf

SEEDS = pytest.mark.parametrize("seed", [*range(6), *(pytest.param(k, marks=pytest.mark.long) for k in range(6, 100))])
TRACED = pytest.mark.parametrize("trace", [True, False])


def random_rows(seed):
    """A function whose outputs are of scales from 1e-12 to 1e12, with its Jacobian, and where to take it."""
    rng = np.random.default_rng(seed)
    rows, columns = int(rng.integers(2, 8)), int(rng.integers(1, 6))
    scales = 10.0 ** rng.uniform(-12.0, 12.0, rows)
    scales[:2] = 1e-12, 1e12
    weights = rng.standard_normal((rows, columns)) * (rng.random((rows, columns)) < 0.8)
    weights[:, 0] = rng.choice([-1.0, 1.0], rows) * rng.uniform(0.5, 1.0, rows)
    x = rng.standard_normal(columns)
    functions = (np.tanh, lambda z: 1.0 - np.tanh(z) ** 2), (np.exp, np.exp), (np.sin, np.cos)
    f, slope = functions[seed % 3]
    jacobian = (scales * slope(weights @ x))[:, None] * weights
    return lambda x: scales * f(weights @ x), jacobian, x


@TRACED
@SEEDS
def test_right_rows_of_many_scales_are_right_and_an_error_in_the_smallest_is_found(seed, trace):
    f, jacobian, x = random_rows(seed)
    report = gf.check_jacobian(f, jacobian, x, trace=trace)
    assert report.ok, str(report)
    sizes = np.abs(jacobian).max(axis=1)
    row = int(np.argmin(np.where(sizes > 0.0, sizes, np.inf)))
    place = row, int(np.argmax(np.abs(jacobian[row])))
    wrong = jacobian.copy()
    wrong[place] *= 1.001
    report = gf.check_jacobian(f, wrong, x, trace=trace)
    assert (report.wrong, report.worst()[0].index) == (1, place), str(report)
    assert report.worst()[0].numerical == pytest.approx(jacobian[place], rel=1e-7)


def test_a_row_that_is_rounding_has_no_scale_of_its_own():
    f = lambda x: np.array([1e6 * np.sin(x[0]), np.sin(x[0]) ** 2 + np.cos(x[0]) ** 2, x[0]])
    x = np.array([0.7])
    jacobian = np.array([[1e6 * np.cos(0.7)], [0.0], [1.0]])
    assert gf.check_jacobian(f, jacobian, x).ok
    assert gf.check_jacobian(f, jacobian, x, trace=False).ok


def test_the_tolerances_that_are_given_are_those_of_the_numbers_themselves():
    f, jacobian, x = random_rows(0)
    wrong = jacobian.copy()
    wrong[0] *= 2.0  # of the size of 1e-12
    assert gf.check_jacobian(f, wrong, x, rtol=1e-6, atol=1e-9).ok
    assert not gf.check_jacobian(f, wrong, x, rtol=1e-6).ok


def test_the_numbers_of_the_report_are_not_scaled():
    f, jacobian, x = random_rows(3)
    wrong = jacobian.copy()
    wrong[0] *= 1.5
    report = gf.check_jacobian(f, wrong, x, error_bars=True)
    (numerical,) = report.numerical.values()
    np.testing.assert_allclose(numerical, jacobian, rtol=1e-6)
    assert report.arrays[0].largest_error == np.abs(wrong - numerical).max()
