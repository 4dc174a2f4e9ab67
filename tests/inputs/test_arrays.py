"""Telling arrays from others."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck_fast.inputs.arrays import Precision, digest, is_float32, same_bits

THIRDS = np.arange(1, 10) / 3.0


def test_values_do_not_run_together():
    assert digest(1, 23) != digest(12, 3)
    assert digest(np.ones(2), np.ones(1)) != digest(np.ones(1), np.ones(2))


def test_arrays_are_told_to_the_last_bit():
    for other in (-THIRDS, THIRDS.astype(np.float32), THIRDS.reshape(3, 3), np.nextafter(THIRDS, 9.0)):
        assert digest(other) != digest(THIRDS)
    assert digest(THIRDS.reshape(3, 3).T.copy().T) == digest(THIRDS.reshape(3, 3))
    assert same_bits(np.array([np.nan, 0.0]), np.array([np.nan, 0.0]))
    assert not same_bits(np.zeros(1), -np.zeros(1))


@pytest.mark.parametrize("dtype, coarse", [("f2", True), ("f4", True), ("f8", False), ("i4", False)])
def test_coarser_than_float64(dtype, coarse):
    assert Precision.of(np.dtype(dtype)).is_coarse == coarse


def test_numbers_that_were_float32_once():
    assert is_float32(THIRDS.astype(np.float32).astype(float))
    assert not is_float32(THIRDS)
    assert not is_float32(np.ones(100)), "anyone has these"
