"""Rounding and mistakes in gradients of a coarse dtype, told apart by the same gradient in float64."""

import numpy as np
import pytest

from gradcheck_fast.comparison.coarse import settled
from gradcheck_fast.inputs.arrays import Precision

HALF, ZERO = Precision.of(np.dtype(np.float16)), np.zeros(4)
NUMERICAL = np.array([1.0, -1.0, 1.0, -1.0])
WIDE = np.full(4, 9.0)  # as many roundings may be, where a dtype is coarse


def tolerance(own, in_double, bars=ZERO, allowance=WIDE, low=ZERO, high=ZERO):
    given = (np.asarray(array, float) for array in (own, NUMERICAL, in_double, bars, allowance))
    return settled(*given, (low, high), HALF)


def test_what_is_right_in_double_is_decided():
    found = tolerance(NUMERICAL * 1.2, NUMERICAL * (1.0 + 1e-9))
    assert found.tolist() == [0.25] * 4


def test_what_is_right_in_double_may_not_be_off_by_more_than_rounding_allows():
    assert tolerance(NUMERICAL * 1.2, NUMERICAL, allowance=np.full(4, 0.1)).tolist() == [0.1] * 4


def test_what_is_right_in_double_and_far_off_is_not_decided():
    assert tolerance(NUMERICAL * 1.5, NUMERICAL).tolist() == WIDE.tolist()


@pytest.mark.parametrize("factor", [1.3, 0.0, -1.0, 1.02])
def test_what_is_as_wrong_in_double_is_wrong(factor):
    own = NUMERICAL * factor
    assert (tolerance(own * 1.001, own) < np.abs(own - NUMERICAL)).all()


@pytest.mark.parametrize("in_double", [NUMERICAL * 1.0005, NUMERICAL * -5.0, NUMERICAL * np.nan])
def test_what_is_off_in_another_way_in_double_is_not_decided(in_double):
    assert tolerance(NUMERICAL * 1.3, in_double).tolist() == WIDE.tolist()


def test_error_bars_and_kinks_count():
    own = NUMERICAL * 1.3
    assert tolerance(own, own, bars=np.full(4, 0.5)).tolist() == [0.75] * 4
    assert tolerance(own, own, low=np.full(4, -0.4), high=np.full(4, 0.4)).tolist() == [0.25] * 4
