"""A loss that raises beside the parameters is not defined there: smaller steps, or steps to one side."""

from __future__ import annotations

import math
import sys
import warnings

import numpy as np
import pytest

import gradcheck_fast as gf


def entropy(p):
    return sum(x * math.log(x) for x in p)


def angles(p):
    return sum(math.acos(x) for x in p)


def log_determinant(a):
    return 2.0 * np.log(np.diag(np.linalg.cholesky(a))).sum()


def shares(p):
    assert (p >= 0.0).all(), "no share is less than zero"
    return float(np.sum(np.exp(p)))


def looked_up(p):
    table = [0.0, 1.0, 4.0]
    at = int(p[0])
    return table[at] + (p[0] - at) * (table[at + 1] - table[at])


SMALL = np.array([1e-6, 0.5, 1e-9])
NEAR_ONE = np.array([1.0 - 1e-7, 0.5, -1.0 + 1e-9])
CASES = {
    "x log x near 0": (entropy, lambda p: np.log(p) + 1.0, SMALL),
    "acos near 1": (angles, lambda p: -1.0 / np.sqrt(1.0 - p**2), NEAR_ONE),
    "Cholesky": (log_determinant, lambda a: np.linalg.inv(a).T, np.diag([1.0, 1e-7, 2.0])),
    "an assert at its edge": (shares, np.exp, np.array([0.0, 0.0, 1.0])),
    "the end of a table": (looked_up, lambda p: np.array([3.0]), np.array([2.0 - 1e-7])),
    "NaN instead": (lambda p: float(np.sum(np.log(p))), lambda p: 1.0 / p, SMALL),
}


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("trace", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_a_right_gradient_passes_and_a_wrong_one_does_not(case, trace):
    loss, gradient, at = CASES[case]
    report = gf.gradcheck(loss, gradient, at, trace=trace)
    assert report.verdict == "PASS"
    if not trace:
        assert any("beside the parameters" in note for note in report.notes) == (case != "NaN instead")
    for entry in range(at.size):
        wrong = gradient(at)
        if wrong.flat[entry]:
            wrong.flat[entry] *= 1.01
            assert gf.gradcheck(loss, wrong, at, trace=trace).verdict == "FAIL"


@pytest.mark.filterwarnings("ignore:invalid value", "ignore:the loss raises", "ignore:the function could not be traced")
@pytest.mark.parametrize("trace", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_error_bars_hold_at_the_edge(case, trace):
    loss, gradient, at = CASES[case]
    found, bars = gf.numerical_gradient(loss, at, error_bars=True, trace=trace)
    assert (np.abs(found - gradient(at)) <= bars).all()
    found = gf.numerical_gradient(loss, at, trace=trace)
    np.testing.assert_allclose(found, gradient(at), rtol=1e-3, atol=1e-6)


def test_what_was_raised_and_where_is_said():
    with pytest.warns(UserWarning, match=r"the loss raises ValueError: .* such as at params\[0\] = -5.05") as caught:
        gf.numerical_gradient(entropy, SMALL, trace=False)
    assert len(caught) == 1
    assert "steps to one side" in str(caught[0].message)
    with pytest.warns(UserWarning, match="the loss raises AssertionError: no share is less than zero beside"):
        gf.numerical_gradient(shares, np.zeros(2), trace=False)


def test_a_function_that_raises_nothing_is_not_said_to():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gf.numerical_gradient(entropy, np.array([0.5, 2.0]), trace=False)


def test_products_of_functions_that_raise():
    at = np.array([1e-9, 1.0 - 1e-9])
    f = lambda x: np.array([math.sqrt(x[0]), math.acos(x[1])])
    slopes = lambda x: np.array([0.5 / math.sqrt(x[0]), -1.0 / math.sqrt(1.0 - x[1] ** 2)])
    for check in (gf.check_vjp, gf.check_jvp):
        assert check(f, lambda v, x: v * slopes(x), at).verdict == "PASS"
        assert check(f, lambda v, x: v * slopes(x) * [1.0, 1.01], at).verdict == "FAIL"


def test_along_directions_steps_become_smaller():
    p = np.abs(np.random.default_rng(0).normal(size=50))
    p[[3, 7]] = 1e-6, 1e-9
    assert gf.gradcheck(entropy, np.log(p) + 1.0, p, method="directional").verdict == "PASS"
    wrong = np.log(p) + 1.0
    wrong[20] += 1.0
    assert gf.gradcheck(entropy, wrong, p, method="directional").verdict == "FAIL"


def test_a_vectorised_loss_that_raises_for_some_of_a_batch():
    def loss(p):
        if (p < 0.0).any():
            raise ValueError("negative")
        return np.sum(np.sqrt(p), axis=-1)

    at = np.array([1e-7, 0.3, 0.9])
    assert gf.gradcheck(loss, 0.5 / np.sqrt(at), at, vectorized=True).verdict == "PASS"
    assert gf.gradcheck(loss, 0.6 / np.sqrt(at), at, vectorized=True).verdict == "FAIL"


def test_an_infinite_slope_is_not_decided():
    report = gf.gradcheck(lambda p: math.sqrt(p), 1.0, 0.0, trace=False)
    assert report.verdict == "INCONCLUSIVE"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="notes of exceptions")
@pytest.mark.parametrize("step", [None, 1e-3])
def test_what_is_raised_to_both_sides_at_every_step_comes_through(step):
    def loss(p):
        if p[1] != 2.0:
            raise ValueError("only 2 will do")
        return float(p @ p)

    with pytest.raises(ValueError, match="only 2 will do") as caught:
        gf.gradcheck(loss, np.array([2.0, 4.0]), np.array([1.0, 2.0]), step=step)
    assert caught.value.__notes__[0].startswith("gradcheck_fast: raised by the loss while params[1] was 2.0")


@pytest.mark.parametrize("acos", [math.acos, np.arccos])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_one_parameter_that_is_smaller_than_the_step(acos):
    slope = -1e6 / math.sqrt(1 - 0.01)
    for at in (1e-7, np.array([1e-7])):
        loss = lambda p: float(acos(float(1e6 * np.squeeze(p))))
        assert gf.gradcheck(loss, np.full(np.shape(at), slope), at, trace=False).verdict == "PASS"
        assert gf.gradcheck(loss, np.full(np.shape(at), 1.01 * slope), at, trace=False).verdict == "FAIL"
