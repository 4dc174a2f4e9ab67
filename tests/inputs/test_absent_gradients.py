"""Gradients that are None, and inputs without entries: messages say what to give, and `fixed=` takes them."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf

X, Y = np.array([0.3, 0.5]), np.array([1.5, -2.0])
PARAMS = {"a": X, "b": Y}


def loss(params):
    return (params["a"] ** 2).sum()


def twice(x, y):
    return 2.0 * x


@pytest.mark.parametrize(
    "gradient",
    [{"a": 2.0 * X, "b": None}, {"da": 2.0 * X, "db": None}, [2.0 * X, None], lambda p: {"a": 2.0 * p["a"], "b": None}],
    ids=["by name", "named as gradients", "in order", "a function"],
)
def test_a_gradient_that_is_none_is_refused_unless_its_array_is_fixed(gradient):
    said = r"gradient: b: expected an array of the shape \(2,\), got None; .* give zeros, or .* by fixed='b'"
    with pytest.raises(TypeError, match=said):
        gf.gradcheck(loss, gradient, PARAMS)
    report = gf.gradcheck(loss, gradient, PARAMS, fixed="b")
    assert report.ok and "b is fixed, not checked" in report.notes, str(report)
    with pytest.raises(TypeError, match=r"b: expected an array"):
        gf.gradcheck(loss, gradient, PARAMS, fixed={"b": 0})


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_product_that_is_none_is_refused_unless_its_input_is_fixed(dtype):
    f = lambda x, y: twice(x.astype(dtype), y)
    inputs = X.astype(dtype), Y.astype(dtype)
    check = lambda **options: gf.check_vjp(f, lambda v, x, y: (2.0 * v, None), inputs, **options)
    with pytest.raises(TypeError, match=r"inputs\[1\]: expected .* got None; .* zeros, or .* fixed='inputs\[1\]'"):
        check()
    assert check(fixed="inputs[1]").ok
    assert check(fixed="inputs[1]", reference=twice).ok


def test_the_gradient_of_a_single_input_may_not_be_none():
    with pytest.raises(TypeError, match=r"gradient: inputs: expected an array of the shape \(2,\), got None"):
        gf.check_vjp(lambda x: x, lambda v, x: None, X)


def test_inputs_without_entries_are_named():
    empty = np.zeros((0, 3))
    report = gf.check_vjp(lambda x, y: x, lambda v, x, y: (v, y), (empty, np.zeros(0)))
    assert report.reason == "nothing was checked: inputs[0], inputs[1] are empty"
    assert gf.gradcheck(lambda p: 1.0, empty, empty).reason == "nothing was checked: params is empty"
    assert gf.gradcheck(lambda p: 1.0, {}, {}).reason == "nothing was checked: there are no parameters"
