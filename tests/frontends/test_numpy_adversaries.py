"""What breaks a trace, or would hide what it lacks: found by functions that were written to do so."""

from __future__ import annotations

import math
import statistics
import warnings

import numpy as np
import pytest

import gradcheck_fast as gf

X = np.array([1.3, 2.2, 0.7, 1.9])
CUBE = np.frompyfunc(lambda v: v**3, 1, 1)

# ---- a part of the loss goes through plain numbers, and the loss is large beside its gradient


def of_text(x):
    return float(f"{np.sum(x**3):.17g}")


def of_statistics(x):
    return 4.0 * statistics.fmean(list(x**3))


def of_objects(x):
    return np.sum(CUBE(x).astype(float))


def of_printed_array(x):
    return sum(float(part) for part in np.array2string(x**3, precision=17)[1:-1].split())


@pytest.mark.parametrize("hidden", [of_text, of_statistics, of_objects, of_printed_array])
@pytest.mark.parametrize(("offset", "factor"), [(0.0, 1e-4), (1e3, 1e-4), (1e5, 1e-2), (1e7, 1.0)])
def test_what_a_trace_lacks_shows_beside_a_large_constant(hidden, offset, factor):
    def loss(x):
        return offset + np.sum(x**2) + factor * hidden(x)

    assert not gf.gradcheck(loss, 2 * X, X).ok
    assert gf.gradcheck(loss, 2 * X + 3 * factor * X**2, X).ok


def test_what_reaches_a_buffer_unseen_shows_beside_a_large_constant():
    kept = np.zeros(4)

    def loss(x):
        seen = memoryview(kept)
        kept[...] = x
        return 1e5 + np.sum(x**2) + 1e-2 * sum(v**3 for v in seen)

    assert not gf.gradcheck(loss, 2 * X, X).ok
    assert gf.gradcheck(loss, 2 * X + 3e-2 * X**2, X).ok


def test_what_a_trace_lacks_shows_in_an_array_with_a_small_gradient():
    def loss(p):
        return np.sum(p["W"] ** 2) + 1e-7 * np.sum(p["b"] ** 2) + 1e-9 * of_text(p["b"])

    right = {"W": 2 * X, "b": 2e-7 * X + 3e-9 * X**2}
    params = {"W": X, "b": X.copy()}
    assert not gf.gradcheck(loss, right | {"b": 2e-7 * X}, params).ok
    assert gf.gradcheck(loss, right, params).ok


def test_bins_that_depend_on_the_parameters_are_not_constant():
    def loss(x):
        return 1e5 + np.sum(x**2) + 1e-2 * np.sum(np.histogram(x, bins=3)[1])

    assert not gf.gradcheck(loss, 2 * X, X).ok
    assert gf.gradcheck(loss, 2 * X + [0, 2e-2, 2e-2, 0], X).ok


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e5])
def test_what_is_only_printed_leaves_the_trace_exact(offset, capsys):
    def loss(p):
        print(f"{np.sum(p['W']):.3f}", p["b"], np.array2string(p["W"]))
        return offset + np.sum(np.tanh(p["W"])) + np.sum(p["b"] ** 2) + np.sum(0.0 * p["unused"])

    params = {"W": X, "b": 0.1 * X, "unused": X}
    report = gf.gradcheck(loss, {"W": 1 - np.tanh(X) ** 2, "b": 0.2 * X, "unused": 0.0 * X}, params)
    assert (report.ok, report.method, report.notes) == (True, "chain", ())


def test_where_rounding_hides_what_a_trace_may_lack_it_is_not_used(capsys):
    def loss(x):
        print(f"{np.sum(x):.3f}")
        return 1e10 + np.sum(x**2)

    report = gf.gradcheck(loss, 2 * X, X)
    assert report.method == "direct"
    assert sum("could not be traced" in note and "test_numpy_adversaries" in note for note in report.notes) == 1


@pytest.mark.parametrize("offset", [0.0, 1e5])
@pytest.mark.parametrize("factor", [1.0, 1e-4])
def test_derivatives_along_a_tangent_lack_nothing_either(offset, factor):
    def function(x):
        return offset + x**2 + factor * np.array([math.gamma(v) for v in x])

    assert not gf.check_jvp(function, lambda t, x: 2 * x * t, X).ok
    assert not gf.check_vjp(function, lambda v, x: 2 * x * v, X).ok


def test_an_array_of_objects_is_said_to_be_made():
    report = gf.gradcheck(lambda x: np.sum(CUBE(x).astype(float)), 3 * X**2, X)
    assert report.ok
    assert len(report.notes) == 1
    assert "an array of object is made" in report.notes[0]


# ---- what a function keeps


class Meta(type):
    pass


class WithMeta(metaclass=Meta):
    factor = 2.0


def test_a_class_with_a_metaclass_is_left_as_it_is():
    report = gf.gradcheck(lambda x: np.sum(x**2) * WithMeta.factor, 4 * X, X)
    assert (report.ok, report.method, report.notes) == (True, "chain", ())


# ---- sizes


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_parameters_whose_squares_are_no_numbers_raise_no_warning(size):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = gf.gradcheck(lambda x: np.sum(x) / size, np.ones(2) / size, np.array([1.0, 3.0]) * size)
    assert report.ok


# ---- values that are not finite


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_function_that_is_not_finite_is_traced_but_has_no_gradient(value):
    def loss(x):
        return np.sum(x) * value

    assert "multiply" in str(gf.trace(loss, X))
    with pytest.raises(ValueError, match="not finite"):
        gf.gradcheck(loss, X, X)
