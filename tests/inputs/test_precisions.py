"""The precisions of dtypes, those of ml_dtypes among them, and rounding to them."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck_fast.inputs.arrays import Precision, digest, is_floating, real_array

ml_dtypes = pytest.importorskip("ml_dtypes")

DTYPES = [np.float16, np.float32, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2]


@pytest.mark.parametrize("dtype", DTYPES)
def test_rounding_is_that_of_the_dtype(dtype):
    dtype, rng = np.dtype(dtype), np.random.default_rng(0)
    numbers = rng.standard_normal(500) * np.exp(rng.uniform(-9, 4, 500))
    rounded = Precision.of(dtype).rounded(numbers)
    assert np.array_equal(rounded, numbers.astype(dtype).astype(np.float64))


@pytest.mark.parametrize(("name", "eps"), [("bfloat16", 2.0**-7), ("float8_e4m3fn", 0.125), ("float8_e5m2", 0.25)])
def test_dtypes_that_are_not_of_numpy(name, eps):
    array = np.ones(3, np.dtype(getattr(ml_dtypes, name)))
    assert is_floating(array.dtype)
    assert Precision.of(array.dtype)[:2] == (name, eps)
    assert real_array("x", array) is array
    assert digest(array) != digest(2 * array)


def test_dtypes_that_are_no_floating_point_numbers():
    assert not is_floating(np.dtype(ml_dtypes.int4))
    assert not is_floating(np.dtype([("a", "f8")]))
    with pytest.raises(TypeError, match="expected real numbers"):
        real_array("x", np.zeros(2, [("a", "f8")]))
