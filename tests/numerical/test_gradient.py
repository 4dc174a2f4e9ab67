"""Steps, one-sided differences and kinks, as plain functions of arrays; and a numerical gradient as a value."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck_fast.numerical.gradient import (
    EPSILON,
    JITTER,
    KINK,
    PLAIN_STEP,
    SMALLER_STEP,
    Kinks,
    Numerical,
    find_kinks,
    jitter,
    may_be_kinks,
    plain_steps,
    where_it_exists,
)

THETA = np.array([0.0, 1e-3, -3.0, 2.5e7])


def name(k):
    return f"p[{k}]"


# ---- steps


def test_default_steps_grow_with_the_parameter_above_one_and_are_divided_by_their_rounded_distance():
    plus, minus, width = plain_steps(THETA, None, name)
    h = PLAIN_STEP * np.array([1.0, 1.0, 3.0, 2.5e7])
    np.testing.assert_allclose(plus - THETA, h, rtol=1e-9)
    np.testing.assert_array_equal(width, plus - minus)


def test_a_given_step_is_taken_for_all_parameters_and_divided_by_as_it_is():
    plus, minus, width = plain_steps(THETA, 0.1, name)
    np.testing.assert_array_equal(plus, THETA + 0.1)
    np.testing.assert_array_equal(minus, THETA - 0.1)
    np.testing.assert_array_equal(width, 0.2)


@pytest.mark.parametrize("step", [None, 1e-4])
def test_times_multiplies_the_step(step):
    once, thrice = plain_steps(THETA, step, name)[2], plain_steps(THETA, step, name, 3.0)[2]
    np.testing.assert_allclose(thrice, 3.0 * once, rtol=1e-5)


def test_a_step_that_is_lost_in_a_parameter_is_an_error_that_names_it():
    with pytest.raises(ValueError, match=r"^step: 1e-10 is lost in p\[3\] = 2.5e\+07; use a larger step$"):
        plain_steps(THETA, 1e-10, name)


def test_jitter_moves_each_parameter_by_a_part_of_itself_and_in_the_same_way_each_time():
    theta = np.linspace(1.0, 2.0, 1000)
    moved = jitter(theta)
    np.testing.assert_allclose(np.abs(moved / theta - 1.0), JITTER, rtol=0.2)
    assert 400 < np.count_nonzero(moved > theta) < 600
    np.testing.assert_array_equal(moved, jitter(theta))
    assert jitter(np.zeros(3)).tolist() == [0.0, 0.0, 0.0]


# ---- one side


def test_the_value_at_the_parameters_stands_in_for_one_that_is_not_finite():
    theta = np.array([1.0, 2.0, 3.0, 4.0])
    points = np.stack([theta + 0.5, theta - 0.25])
    values = np.array([[10.0, 20.0, np.nan, np.inf], [1.0, np.nan, 3.0, np.nan]])
    plus, minus, width = where_it_exists(values, points, points[0] - points[1], theta, 7.0)
    assert plus[:3].tolist() == [10.0, 20.0, 7.0]
    assert minus[:3].tolist() == [1.0, 7.0, 3.0]
    assert width.tolist() == [0.75, 0.5, 0.25, 0.75]
    assert not np.isfinite([plus[3], minus[3]]).any()


# ---- kinks


def test_slopes_may_be_those_of_a_kink_if_they_differ_by_more_than_curvature_and_noise_make():
    right = np.array([1.0, 1.0, 1.0, np.nan])
    left = right - np.array([2.0, 0.5, 2.0, 0.0]) * KINK
    noise = np.array([0.0, 0.0, KINK / EPSILON, 0.0])
    assert may_be_kinks(right, left, noise).tolist() == [True, False, False, False]


def slopes_of(function, h):
    """The slopes of a function of one number to the right and to the left of 0, as arrays of one entry."""
    return np.array([(function(h) - function(0.0)) / h]), np.array([(function(0.0) - function(-h)) / h])


def kinks_of(function, h=0.01):
    right, left = slopes_of(function, h)
    return find_kinks(0.5 * (right + left), (right, left), slopes_of(function, h / SMALLER_STEP))


def test_slopes_that_stay_different_are_a_kink_and_reach_to_both_sides_of_the_central_difference():
    found = kinks_of(lambda x: 3.0 * x if x > 0.0 else -x)
    assert found.crossed == 1
    assert found.where.tolist() == [True]
    np.testing.assert_allclose([found.low[0], found.high[0]], [-2.0, 2.0])


def test_the_slopes_at_a_kink_between_curves_reach_to_the_true_ones():
    found = kinks_of(lambda x: 3.0 * x - 5.0 * x * x if x > 0.0 else -x - 5.0 * x * x)
    assert 1.0 + found.low[0] <= -1.0 < 3.0 <= 1.0 + found.high[0]
    np.testing.assert_allclose([found.low[0], found.high[0]], [-2.0, 2.0], rtol=0.05)


@pytest.mark.parametrize(
    "function",
    [lambda x: 5.0 * x * x, lambda x: float(x > 0.0), lambda x: max(x - 0.005, 0.0)],
    ids=["a curve", "a jump", "a kink close by"],
)
def test_slopes_that_change_with_the_step_are_no_kink(function):
    assert kinks_of(function) is None


def test_where_nobody_has_looked_there_is_no_kink():
    nan = np.full(1, np.nan)
    assert find_kinks(np.zeros(1), (np.ones(1), -np.ones(1)), (nan, nan)) is None


# ---- a gradient as a value


def numerical(**options):
    return Numerical(np.array([10.0, 20.0, 30.0]), "direct", False, None, **options)


def test_some_entries_of_a_gradient_come_with_all_that_is_known_of_them():
    kinks = Kinks(5, np.array([0.0, -1.0, 0.0]), np.array([0.0, 0.0, 2.0]))
    whole = numerical(
        again=lambda times: times * np.array([1.0, 2.0, 3.0]),
        noise=lambda: np.array([4.0, 5.0, 6.0]),
        roundings=lambda: 7.0,
        kinks=kinks,
    )
    some = whole.of(np.array([2, 0]))
    assert some.gradient.tolist() == [30.0, 10.0]
    assert some.again(2.0).tolist() == [6.0, 2.0]
    assert some.noise().tolist() == [6.0, 4.0]
    assert some.roundings() == 7.0
    assert (some.kinks.crossed, some.kinks.low.tolist(), some.kinks.high.tolist()) == (5, [0.0, 0.0], [2.0, 0.0])


def test_what_looks_at_single_entries_is_not_asked_for_others():
    looks = {"refine": print, "flat": print, "closer": print, "polish": print}
    some = numerical(**looks).of(np.array([1]))
    assert [getattr(some, look) for look in looks] == [None] * 4
    assert some.again is None
