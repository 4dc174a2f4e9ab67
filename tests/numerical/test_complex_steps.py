"""Complex steps: to rounding where a function is analytic, and refused or replaced where it is not."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck_fast.inputs.trees import pack
from gradcheck_fast.numerical.complex_steps import by_complex_steps, confirmed_steps, within_bars
from gradcheck_fast.numerical.evaluate import BatchCosts, PythonCosts
from gradcheck_fast.numerical.gradient import Refined
from gradcheck_fast.numerical.point import Point
from gradcheck_fast.running.runner import Runner

P = np.array([0.3, -1.2, 2.0, 0.7, -0.4])


def point(function, at=P, costs=PythonCosts):
    packed = pack(at)
    return Point.at(costs(function, packed), packed.flat, Runner(1))


def analytic(p):
    return np.sum(np.sin(p) * np.exp(0.5 * p))


GRADIENT = np.exp(0.5 * P) * (np.cos(P) + 0.5 * np.sin(P))


def of_sizes(p):
    return np.sum(np.abs(p) ** 3)


def with_a_penalty(p):
    """Analytic but for a small part, which is less than what differences of single entries must agree to."""
    return analytic(p) + 1e-4 * np.sum(np.abs(p))


def real(p):
    return np.sum(np.sin(np.array([float(x) for x in p])))


# ---- method="complex"


def test_an_analytic_function_is_differenced_to_rounding():
    found = by_complex_steps(point(analytic), None)
    np.testing.assert_allclose(found.gradient, GRADIENT, rtol=1e-14)
    assert (found.method, found.exact, found.step) == ("complex", True, None)


@pytest.mark.parametrize("step", [1e-8, 1e-100])
def test_the_step_hardly_matters(step):
    found = by_complex_steps(point(analytic), step)
    np.testing.assert_allclose(found.gradient, GRADIENT, rtol=1e-14)
    assert found.step == step


@pytest.mark.parametrize("function", [of_sizes, with_a_penalty], ids=["of sizes", "with a penalty"])
def test_a_function_that_is_not_analytic_is_refused_with_both_slopes(function):
    with pytest.raises(ValueError, match=r"^method: .complex. gives .* differences give .* not analytic"):
        by_complex_steps(point(function), None)


def test_a_function_of_many_trees_takes_no_complex_steps():
    many = point(lambda p: np.sum(p**2, axis=1), costs=BatchCosts)
    with pytest.raises(ValueError, match="'complex' needs a Python function of one set of parameters"):
        by_complex_steps(many, None)


def test_without_parameters_there_is_no_line_to_look_along():
    assert by_complex_steps(point(analytic, np.empty(0)), None).gradient.shape == (0,)


# ---- chosen by default


def test_steps_of_an_analytic_function_are_confirmed():
    np.testing.assert_allclose(confirmed_steps(point(analytic)), GRADIENT, rtol=1e-14)


@pytest.mark.parametrize(
    "function", [of_sizes, real, with_a_penalty], ids=["of sizes", "of real numbers only", "with a penalty"]
)
def test_no_steps_are_confirmed_of_a_function_that_is_not_analytic(function):
    assert np.isnan(confirmed_steps(point(function))).all()


def test_entries_at_which_alone_the_function_is_not_analytic_are_left_to_differences():
    def of_the_last_size(p):
        return analytic(p[:-1]) + np.abs(p[-1]) ** 3

    found = confirmed_steps(point(of_the_last_size))
    np.testing.assert_allclose(found[:-1], GRADIENT[:-1], rtol=1e-14)
    assert np.isnan(found[-1])


def test_a_function_that_does_not_take_complex_numbers_is_asked_for_the_first_entries_only():
    calls = []

    def refuses(p):
        calls.append(p.dtype.kind)
        return real(p)

    confirmed_steps(point(refuses, np.linspace(0.1, 1.0, 50)))
    assert calls.count("c") <= 4


# ---- within error bars


def test_a_step_within_the_bar_takes_the_place_of_the_difference_and_widens_the_bar():
    off = np.array([1e-9, -2e-9, 0.0, 3e-9, 1e-9])
    found = within_bars(point(analytic), Refined(GRADIENT + off, np.full(5, 1e-8)))
    np.testing.assert_allclose(found.derivatives, GRADIENT, rtol=1e-14)
    np.testing.assert_allclose(found.bars, 1e-8 + np.abs(off), rtol=1e-6)


def test_a_step_beyond_the_bar_changes_nothing():
    known = Refined(GRADIENT + np.array([0.0, 0.0, 0.0, 0.0, 1.0]), np.full(5, 1e-8))
    found = within_bars(point(analytic), known)
    assert found.derivatives[-1] == known.derivatives[-1]
    assert found.bars[-1] == 1e-8


@pytest.mark.parametrize("function", [of_sizes, real], ids=["of sizes", "of real numbers only"])
def test_what_no_step_agrees_with_stays_as_it_is(function):
    known = Refined(GRADIENT.copy(), np.full(5, 1e-8))
    assert within_bars(point(function), known) is known
