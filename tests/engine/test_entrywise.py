"""The compiled rules of functions of one number do what the rules of their primitives do, in every instruction set."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck_fast.engine._entrywise import Entrywise
from gradcheck_fast.kernels import _kernels
from gradcheck_fast.program.primitive import SLOPE_STEP
from gradcheck_fast.program.steps import PRIMITIVES

EPSILON = np.finfo(float).eps
each = pytest.mark.parametrize("name", _kernels.ELEMENTWISE)
on_each = pytest.mark.parametrize("isa", _kernels.instruction_sets())


def numbers(seed, shape=(3, 5, 91)):  # more than two blocks, and a part of one
    return np.random.default_rng(seed).uniform(-3.0, 3.0, shape)


@each
@on_each
@pytest.mark.parametrize("size", [1e-12, 1e-7, 1e-3, 1.0])
def test_differences_are_those_of_the_rule(name, isa, size):
    z, d = numbers(0), size * numbers(1)
    found, expected = Entrywise(name, SLOPE_STEP, isa).difference([z], [d]), PRIMITIVES[name].difference([z], [d])
    assert found.shape == z.shape
    np.testing.assert_allclose(found, expected, rtol=32 * EPSILON, atol=32 * EPSILON * size)


@each
@on_each
def test_the_way_back_is_that_of_the_rule(name, isa):
    z, up = numbers(0), numbers(1)
    z.flat[:3] = 0.0, 1.0, 6.0  # on kinks
    found, expected = Entrywise(name, SLOPE_STEP, isa).back([z], 0, up), PRIMITIVES[name].back([z], 0, up)
    np.testing.assert_allclose(found, expected, rtol=32 * EPSILON, atol=32 * EPSILON)


@each
def test_they_take_any_layout_no_entries_and_no_change(name):
    rules = Entrywise(name, SLOPE_STEP, _kernels.instruction_sets()[0])
    z, d = numbers(0), 1e-3 * numbers(1)
    turned = rules.difference([z.T], [d.T])
    np.testing.assert_array_equal(turned, rules.difference([np.ascontiguousarray(z.T)], [np.ascontiguousarray(d.T)]))
    assert rules.difference([np.array(0.5)], [np.array(0.1)]).shape == ()
    assert rules.back([np.empty((0, 3))], 0, np.empty((0, 3))).shape == (0, 3)
    assert not rules.difference([z], [None]).any()
