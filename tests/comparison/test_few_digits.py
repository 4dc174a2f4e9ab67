"""Gradients of dtypes of few digits: what roundings hide shows in float64, and what would have been seen is said."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf


def layer(precision, factor):
    """Gives a layer of any dtype with its backward, whose first result is times a factor, and inputs of one dtype."""
    dtype = np.dtype(pytest.importorskip("ml_dtypes").bfloat16 if precision == "bfloat16" else precision)
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(6, 4)).astype(dtype), rng.normal(size=(4, 5)).astype(dtype)
    f = lambda x, w: np.tanh(x @ w)

    def vjp(v, x, w):
        d = v * (1 - f(x, w) ** 2)
        return (d @ w.T) * np.asarray(factor, x.dtype), x.T @ d

    return f, vjp, (x, w)


@pytest.mark.parametrize(("precision", "error"), [("float16", 0.004), ("bfloat16", 0.02), ("float32", 1e-4)])
def test_an_error_of_few_roundings_is_seen_in_float64(precision, error):
    f, right, inputs = layer(precision, 1.0)
    assert gf.check_vjp(f, right, inputs).ok
    report = gf.check_vjp(f, layer(precision, 1.0 + error)[1], inputs)
    assert report.verdict == "FAIL"
    assert {array.name for array in report.arrays if array.wrong} == {"inputs[0]"}


@pytest.mark.parametrize("precision", ["float16", "bfloat16", "float32"])
def test_what_would_have_been_seen_is_no_less_than_a_rounding(precision):
    f, right, inputs = layer(precision, 1.0)
    eps = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23}[precision]
    seen = gf.check_vjp(f, right, inputs).seen_from["output", "inputs[0]"]
    assert eps <= seen <= 32 * eps
    wrong = gf.check_vjp(f, layer(precision, 1.0 + 1.2 * seen)[1], inputs)
    assert wrong.verdict == "FAIL"


def test_tolerances_of_the_user_are_what_is_not_seen():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 4)), rng.normal(size=(4, 2))
    vjp = lambda v, a, b: (v @ b.T, a.T @ v)
    assert gf.check_vjp(np.matmul, vjp, (a, b)).seen_from["output", "inputs[0]"] < 1e-11
    seen = gf.check_vjp(np.matmul, vjp, (a, b), rtol=1e-3).seen_from["output", "inputs[0]"]
    assert 1e-3 <= seen <= 2e-3
