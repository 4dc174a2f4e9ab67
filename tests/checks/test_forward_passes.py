"""check_vjp and check_jvp of functions that return a cache beside their outputs name the call to make."""

from __future__ import annotations

import re

import numpy as np
import pytest

import gradcheck_fast as gf

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(3, 4)), RNG.normal(size=(4, 2)), RNG.normal(size=2)
x = INPUTS[0]


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def affine_backward(dout, cache):
    x, w, _ = cache
    return dout @ w.T, x.T @ dout, dout.sum(axis=0)


def relu_forward(x):
    return np.maximum(x, 0), x


def relu_backward(dout, cache):
    return dout * (cache > 0)


def settings_forward(x):
    return 2 * x, {"mode": "train"}


def lstm_forward(x):
    return np.tanh(x), x**2, (x, None)


def cache_first(x):
    return {"x": x}, 2 * x


CASES = [
    (affine_forward, affine_backward, INPUTS, "(out, cache)", "0"),
    (relu_forward, relu_backward, x, "(out, cache)", "0"),
    (relu_forward, relu_backward, (x,), "(out, cache)", "0"),
    (settings_forward, relu_backward, x, "(out, cache)", "0"),
    (lstm_forward, relu_backward, (x,), "(out1, out2, cache)", "0:-1"),
    (cache_first, relu_backward, x, "(cache, out)", "1"),
]


@pytest.mark.parametrize(("forward", "backward", "inputs", "form", "place"), CASES)
def test_the_error_of_check_vjp(forward, backward, inputs, form, place):
    names = f"{forward.__name__}, {backward.__name__}"
    said = f"f: {forward.__name__} returns {form}: use gf.check_layer({names}, inputs)"
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        gf.check_vjp(forward, backward, inputs)
    assert error.value.__cause__ is not None


@pytest.mark.parametrize(("forward", "backward", "inputs", "form", "place"), CASES)
def test_the_error_of_check_jvp(forward, backward, inputs, form, place):
    name = forward.__name__
    with pytest.raises(
        ValueError, match=re.escape(f"f: {name} returns {form}: pass lambda *inputs: {name}(*inputs)[{place}]")
    ):
        gf.check_jvp(forward, lambda t, *inputs: t[0], inputs)


def test_outputs_of_which_one_is_an_input_are_checked():
    report = gf.check_vjp(lambda x: (2 * x, (x,)), lambda v, x: 2 * v[0] + v[1][0], x)
    assert report.ok
    assert not gf.check_vjp(lambda x: (2 * x, (x,)), lambda v, x: 2 * v[0], x).ok


def test_other_errors_stay_as_they_are():
    with pytest.raises(ZeroDivisionError):
        gf.check_vjp(affine_forward_without_cache, lambda v, *inputs: 1 / 0, INPUTS)
    with pytest.raises(ValueError, match="vjp: expected a tuple of 3"):
        gf.check_vjp(affine_forward_without_cache, lambda v, *inputs: (v,), INPUTS)
    with pytest.raises(RuntimeError, match="broken"):
        gf.check_vjp(broken, relu_backward, x)


def affine_forward_without_cache(x, w, b):
    return x @ w + b


def broken(x):
    raise RuntimeError("broken")
