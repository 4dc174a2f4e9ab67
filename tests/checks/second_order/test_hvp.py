"""check_hvp: products of Hessians with random vectors."""

from __future__ import annotations

import numpy as np
import pytest
from hessians import random_function

import gradcheck_fast as gf

TRACED = pytest.mark.parametrize("trace", [True, False])


@TRACED
@pytest.mark.parametrize("seed", [0, *(pytest.param(k, marks=pytest.mark.long) for k in range(1, 30))])
def test_products_of_random_functions(seed, trace):
    f, hessian, x = random_function(seed)
    right = lambda x, v: hessian(x) @ v
    assert gf.check_hvp(f, right, x, trace=trace).ok
    assert gf.check_hvp(f, lambda v: hessian(x) @ v, x, trace=trace, directions=3).ok

    def wrong(x, v):
        found = hessian(x) @ v
        found[np.argmax(np.abs(found))] *= 1.0001
        return found

    report = gf.check_hvp(f, wrong, x, trace=trace)
    assert report.wrong == 1
    assert report.arrays[0].name == "params"


def loss(p):
    return np.sum(np.sin(p["W"]) * p["b"])


def product(p, v):
    return {
        "b": np.sum(np.cos(p["W"]) * v["W"], axis=0),
        "W": -np.sin(p["W"]) * p["b"] * v["W"] + np.cos(p["W"]) * v["b"],
    }


PARAMS = {"W": np.random.default_rng(0).normal(size=(2, 3)), "b": np.array([1.0, -0.5, 2.0])}


@TRACED
def test_trees_are_told_by_their_names(trace):
    report = gf.check_hvp(loss, product, PARAMS, trace=trace)
    assert report.ok
    assert [array.name for array in report.arrays] == ["W", "b"]
    assert report.numerical["W"].shape == (2, 3)


def test_a_forgotten_term_is_found_in_its_array():
    without = lambda p, v: {**product(p, v), "W": -np.sin(p["W"]) * p["b"] * v["W"]}
    report = gf.check_hvp(loss, without, PARAMS)
    assert [array.name for array in report.arrays if array.wrong] == ["W"]


def test_a_product_that_writes_into_its_arguments_changes_nothing_of_the_users():
    def greedy(p, v):
        found = product(p, v)
        p["W"][:], v["b"][:] = 0.0, 0.0
        return found

    before = PARAMS["W"].copy()
    assert gf.check_hvp(loss, greedy, PARAMS).ok
    assert np.array_equal(PARAMS["W"], before)


def test_a_product_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="gradient"):
        gf.check_hvp(loss, lambda p, v: {"W": np.zeros((3, 3)), "b": v["b"]}, PARAMS)
    with pytest.raises(TypeError, match="hvp: expected a function"):
        gf.check_hvp(loss, PARAMS, PARAMS)
