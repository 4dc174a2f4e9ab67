"""Sums along axes lose few roundings, whichever axes are kept."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from gradcheck_fast.program.sums import LONG, total

EPSILON = np.finfo(float).eps
SHAPES = [(3, 5, 4, 7), (100, 4), (2, 130, 3), (70, 70), (4, 8, 300), (5000, 2), (0, 3), (3, 0, 200)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("keepdims", [False, True])
def test_they_are_those_of_numpy(shape, keepdims):
    x = np.random.default_rng(0).normal(size=shape)
    for count in range(len(shape) + 1):
        for axis in itertools.combinations(range(len(shape)), count):
            for array in (x, np.asfortranarray(x), x[::-1]):
                found, expected = total(array, axis, keepdims), array.sum(axis=axis, keepdims=keepdims)
                assert found.shape == expected.shape
                np.testing.assert_allclose(found, expected, rtol=0.0, atol=4 * EPSILON * max(1.0, np.abs(x).sum()))


@pytest.mark.parametrize("shape", [(4096, 16), (16, 4096, 3), (4, 32, 32, 16), (3001, 40), (100_000, 2)])
def test_equal_terms_do_not_lose_a_rounding_each(shape):
    x = np.full(shape, 0.1)
    axis = tuple(range(len(shape) - 1))
    terms = math.prod(shape[:-1])
    allowed = math.sqrt(terms) / 4.0 * EPSILON
    assert np.abs(total(x, axis) / (0.1 * terms) - 1.0).max() <= allowed


def test_numpy_adds_up_rows_one_after_the_other():
    """If that changes, `total` is not needed."""
    x = np.full((4096, 16), 0.1)
    assert np.abs(x.sum(axis=0) / (0.1 * 4096) - 1.0).max() > 200 * EPSILON


def test_few_terms_are_added_as_numpy_adds_them():
    x = np.random.default_rng(0).normal(size=(LONG, 9))
    assert np.array_equal(total(x, (0,)), x.sum(axis=0))
    assert total(x, ()) is not x
    assert np.array_equal(total(x, ()), x)
