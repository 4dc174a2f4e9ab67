"""Comparing two gradients: one number for the whole, a tolerance for every entry."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.comparison.compare import compare
from gradcheck_fast.comparison.tolerances import Tolerances
from gradcheck_fast.inputs.trees import pack
from gradcheck_fast.numerical.gradient import EPSILON, Kinks, Numerical

# ---- relative_error


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (3.0, 3.0, 0.0),
        (3.0, 1.0, 0.5),
        ([3.0, 4.0], [3.0, 4.0], 0.0),
        ([3.0, 4.0], [0.0, 0.0], 1.0),
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([], [], 0.0),
        ([1.0, -2.0], [-1.0, 2.0], np.inf),
        (np.array([[1.0, 2.0]]), np.array([1.0, 2.0]), 0.0),
        (np.array([3.0]), [np.array(1.0)], 0.5),
        ({"W": np.array([3.0, 0.0]), "b": 0.0}, [1.0, 0.0, 0.0], 0.5),
        (np.array([3, 0], np.int8), np.array([1, 0], np.uint64), 0.5),
        (np.array([3, 0], np.float16), np.array([1, 0], np.float32), 0.5),
    ],
)
def test_relative_error(a, b, expected):
    assert gf.relative_error(a, b) == pytest.approx(expected, rel=1e-15)


def test_relative_error_is_the_tutorials_formula():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 50))
    assert gf.relative_error(a, b) == pytest.approx(np.linalg.norm(a - b) / np.linalg.norm(a + b), rel=1e-14)
    assert gf.relative_error(a, b) == gf.relative_error(b, a)


@pytest.mark.parametrize("size", [1e-320, 1e-300, 1e-160, 1e160, 1e300, 0.5e308])
def test_relative_error_neither_overflows_nor_underflows(size):
    assert gf.relative_error(np.array([3.0, 3.0]) * size, np.array([1.0, 1.0]) * size) == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_relative_error_of_what_is_not_finite_is_nan(bad):
    assert np.isnan(gf.relative_error([1.0, bad], [1.0, 1.0]))
    assert np.isnan(gf.relative_error([1.0, 1.0], [1.0, bad]))
    assert np.isnan(gf.relative_error([1.0, bad], [1.0, bad]))


def test_relative_error_of_dicts_goes_by_name():
    assert gf.relative_error({"W": 1.0, "b": 2.0}, {"b": 2.0, "W": 1.0}) == 0.0


def test_relative_error_needs_as_many_entries():
    with pytest.raises(ValueError, match=r"2 entries.*3"):
        gf.relative_error([1.0, 2.0], [1.0, 2.0, 3.0])


@pytest.mark.parametrize("bad", [1j, "1", None, np.array([True])], ids=repr)
def test_relative_error_of_what_is_no_real_number(bad):
    with pytest.raises(TypeError, match=r"^b: expected real numbers"):
        gf.relative_error(1.0, bad)


# ---- compare: the tolerance of an entry


def one(analytic, numerical, *, rtol=None, atol=None, change=0.0, roundings=0.0, exact=True, kinks=None, bars=False):
    """The comparison with a numerical gradient that is `change` larger when it is found again."""
    n = np.array(numerical, np.float64).ravel()
    numbers = Numerical(n, "units", exact, 2.0**-40, lambda times: n + change, lambda: 0.0, lambda: roundings, kinks)
    return compare(pack(analytic, finite=False), numbers, Tolerances(rtol, atol), with_bars=bars)


def test_within_and_beyond_rtol():
    n = np.array([1.0, -10.0, 100.0])
    assert one(n * (1 + 0.9e-3), n, rtol=1e-3, atol=0.0).arrays[0].wrong == 0
    assert one(n * (1 + 1.1e-3), n, rtol=1e-3, atol=0.0).arrays[0].wrong == 3


def test_within_and_beyond_atol():
    n = np.array([0.0, -10.0, 100.0])
    assert one(n + 0.9e-3, n, rtol=0.0, atol=1e-3).arrays[0].wrong == 0
    assert one(n + 1.1e-3, n, rtol=0.0, atol=1e-3).arrays[0].wrong == 3


def test_the_two_tolerances_add_up():
    assert one([1.0 + 1.9e-3], [1.0], rtol=1e-3, atol=1e-3).arrays[0].wrong == 0
    assert one([1.0 + 2.1e-3], [1.0], rtol=1e-3, atol=1e-3).arrays[0].wrong == 1


def test_rtol_is_of_the_larger_of_the_two():
    for a, n in ((1.0, 2.0), (2.0, 1.0), (-1.0, -2.0)):
        assert one([a], [n], rtol=0.51, atol=0.0).arrays[0].wrong == 0
        assert one([a], [n], rtol=0.49, atol=0.0).arrays[0].wrong == 1


def test_excess_is_the_error_in_tolerances():
    excess = one(np.array([1.0, 1.5, 3.0]), np.ones(3), rtol=0.0, atol=0.5).excess
    np.testing.assert_allclose(excess, [0.0, 1.0, 4.0])


def test_equal_numbers_are_right_even_without_tolerance():
    comparison = one(np.array([0.0, 1.0, -0.0]), [0.0, 1.0, 0.0], rtol=0.0, atol=0.0)
    assert comparison.arrays[0].wrong == 0
    np.testing.assert_array_equal(comparison.excess, 0.0)


def test_any_difference_is_wrong_without_tolerance():
    comparison = one(np.array([1e-300]), [0.0], rtol=0.0, atol=0.0)
    assert comparison.arrays[0].wrong == 1


@pytest.mark.parametrize(
    ("dtype", "right", "wrong"),
    [("float64", 1e-15, 1e-13), ("float32", 1e-7, 1e-4), ("float16", 1e-3, 0.2)],
)
def test_default_tolerance_follows_the_dtype(dtype, right, wrong):
    exact = np.array([1.0, 2.0, 3.0], dtype)
    assert one(exact, exact * np.float64(1 + right)).arrays[0].wrong == 0
    assert one(exact, exact * np.float64(1 + wrong)).arrays[0].wrong == 3


def test_integer_gradients_count_as_exact():
    assert one(np.array([1, 2, 3]), [1.0, 2.0, 3.0 + 1e-6]).arrays[0].wrong == 1


def test_dtype_decides_array_by_array():
    tree = {"single": np.ones(2, np.float32), "double": np.ones(2)}
    comparison = one(tree, np.full(4, 1 + 1e-7))
    assert [(array.name, array.wrong) for array in comparison.arrays] == [("single", 0), ("double", 2)]


def test_what_agrees_to_some_roundings_needs_no_error_bars():
    def refuse():
        raise AssertionError("a second run")

    n = np.array([1.0, 2.0])
    numbers = Numerical(n, "units", True, 2.0**-40, refuse, refuse, refuse)
    comparison = compare(pack(n * (1 + 2 * EPSILON)), numbers)
    assert (comparison.arrays[0].status, comparison.bars) == ("right", None)


def test_rounding_errors_of_large_entries_are_no_mistakes():
    """An entry that should be 0 comes out as a rounding error of the array's large entries."""
    assert one(np.array([1e6, 1e-10]), [1e6, 0.0]).arrays[0].wrong == 0
    assert one(np.array([1e6, 1e-8]), [1e6, 0.0]).arrays[0].wrong == 1


def test_arrays_that_vanish_beside_others_are_still_judged():
    comparison = one({"W": np.array([1e6]), "b": np.array([2e-10])}, [1e6, 1e-10])
    assert [array.wrong for array in comparison.arrays] == [0, 1]


def test_what_changes_in_the_second_run_is_an_error_bar():
    n = np.array([1.0, 2.0])
    assert one(n + 1e-4, n).arrays[0].wrong == 2
    assert one(n + 1e-4, n, change=2e-4).arrays[0].wrong == 0
    assert one(n + 1e-4, n, change=np.array([2e-4, -2e-4])).arrays[0].wrong == 0
    np.testing.assert_array_less(2e-4, one(n + 1e-4, n, change=2e-4).bars)


def test_no_bar_is_less_than_what_is_typical_of_its_row_and_column():
    """In the (1, 1) nothing changed, by chance."""
    change = np.array([[1.0, 2.0], [2.0, 0.0]]) * 1e-6
    bars = one(np.ones((2, 2)) + 1e-7, np.ones(4), change=change.ravel()).bars.reshape(2, 2)
    assert (bars >= change).all()
    assert bars[1, 1] > 0.5e-6


def test_what_is_rounded_on_the_way_excuses_an_analytic_gradient_of_its_dtype():
    n = np.array([1.0, 2.0])
    assert one(n + 1e-13, n).arrays[0].wrong == 2
    assert one(n + 1e-13, n, roundings=1e3).arrays[0].wrong == 0
    assert one((n + 1e-5).astype(np.float32), n).arrays[0].wrong == 2
    assert one((n + 1e-5).astype(np.float32), n, roundings=1e2).arrays[0].wrong == 0
    assert one(n + 1e-5, n, roundings=1e2).arrays[0].wrong == 2


@pytest.mark.parametrize("change", [1.0, 1e10, np.inf, np.nan])
def test_a_bar_that_is_too_wide_decides_nothing(change):
    n = np.array([1.0, 2.0])
    comparison = one(n + 0.1, n, change=change)
    assert comparison.arrays[0].wrong == 0
    assert comparison.arrays[0].status in ("inconclusive", "nothing to check")


def test_bars_do_not_count_with_an_atol_of_the_users_own():
    assert one([1.0 + 1e-4], [1.0], change=1e-3, rtol=0.0, atol=1e-5).arrays[0].wrong == 1
    assert one([1.0 + 1e-4], [1.0], change=1e-3, rtol=1e-5).arrays[0].wrong == 0


def test_at_a_kink_all_its_slopes_are_right():
    kinks = Kinks(1, np.array([-0.5, 0.0]), np.array([0.5, 0.0]))
    for a, wrong in ((0.5, 0), (1.0, 0), (1.2, 0), (1.5, 0), (1.6, 1), (0.4, 1)):
        result = one(np.array([a, 2.0]), [1.0, 2.0], kinks=kinks).arrays[0]
        assert (result.wrong, result.at_kink) == (wrong, 1 - wrong)
    assert one(np.array([1.0, 2.1]), [1.0, 2.0], kinks=kinks).arrays[0].wrong == 1


def test_an_array_of_zeros_gives_nothing_to_check():
    assert one(np.zeros(3), np.zeros(3)).arrays[0].status == "nothing to check"
    assert one(np.array([0.0, 1e-3]), np.zeros(2)).arrays[0].status == "wrong"


def test_what_is_less_than_its_error_bars_gives_nothing_to_check():
    """Beside arrays that are much larger than these; else nothing is known of it."""
    for size, status in ((1.0, "nothing to check"), (1e-5, "inconclusive")):
        tree = {"W": np.full(2, size), "b": np.array([1e-9, 2e-9])}
        assert one(tree, [size, size, 1.1e-9, 2.1e-9], change=1e-8).arrays[1].status == status
    assert one(np.array([1e-9, 2e-9]), [1.1e-9, 2.1e-9], change=1e-8).arrays[0].status == "inconclusive"


@pytest.mark.parametrize("analytic, status", [(1e-3, "inconclusive"), (0.0, "nothing to check")])
def test_an_array_of_which_nothing_is_known_is_inconclusive_where_something_is_claimed(analytic, status):
    change = np.array([0.0, 0.0, np.inf, np.inf])
    tree = {"W": np.ones(2), "b": np.full(2, analytic)}
    assert one(tree, [1.0, 1.0, 0.0, 0.0], change=change).arrays[1].status == status


def test_error_bars_on_demand():
    n = np.array([1.0, 2.0])
    assert one(n, n, change=1e-9).bars is None
    np.testing.assert_array_less(0.9e-9, one(n, n, change=1e-9, bars=True).bars)
    np.testing.assert_array_less(0.9e-9, one(n, n, change=1e-9, bars=True, rtol=1e-3, atol=0.0).bars)


@pytest.mark.parametrize("analytic", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("numerical", [np.nan, np.inf, -np.inf, 1.0])
def test_an_analytic_number_that_is_not_finite_is_wrong_even_where_equal(analytic, numerical):
    comparison = one(np.array([1.0, analytic]), [1.0, numerical], rtol=1e300, atol=1e300)
    assert comparison.arrays[0].wrong == 1
    assert comparison.excess[1] == np.inf
    assert np.isnan(comparison.relative_error)


@pytest.mark.parametrize("numerical", [np.nan, np.inf, -np.inf])
def test_a_numerical_number_that_is_not_finite_decides_nothing(numerical):
    for tolerance in ({}, {"rtol": 1e-3}, {"atol": 1e300}):
        result = one(np.array([1.0, 1.0]), [1.0, numerical], **tolerance).arrays[0]
        assert (result.wrong, result.inconclusive, result.status) == (0, 1, "inconclusive")


def test_one_array_that_is_not_finite_leaves_the_others_alone():
    comparison = one({"W": np.array([np.inf, 1.0]), "b": np.ones(2)}, [np.inf, 1.0, 1.0, 1.0 + 1e-6])
    assert [array.wrong for array in comparison.arrays] == [1, 1]
    assert comparison.arrays[1].relative_error == pytest.approx(0.5e-6 / np.sqrt(2), rel=1e-3)


def test_huge_entries_of_opposite_sign():
    assert one(np.array([1.7e308]), [-1.7e308]).arrays[0].wrong == 1


def test_results_of_arrays():
    tree = {"W": np.array([[1.0, 2.0], [3.0, 4.5]]), "s": 7.0, "none": np.empty((0, 3))}
    W, s, none = one(tree, [1.0, 2.0, 3.0, 4.0, 7.0]).arrays
    assert (W.name, W.shape, W.size, W.wrong, W.largest_error) == ("W", (2, 2), 4, 1, 0.5)
    assert W.relative_error == pytest.approx(0.5 / np.linalg.norm([2.0, 4.0, 6.0, 8.5]), rel=1e-15)
    assert (s.name, s.shape, s.size, s.wrong, s.relative_error) == ("s", (), 1, 0, 0.0)
    assert (none.name, none.shape, none.size, none.wrong, none.largest_error) == ("none", (0, 3), 0, 0, 0.0)
