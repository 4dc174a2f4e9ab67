"""Comparing two gradients: one number for the whole, a tolerance for every entry."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.compare import compare
from gradcheck_fast.differences import EPSILON, ROUNDING_ULPS, Numerical
from gradcheck_fast.trees import pack

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


def one(analytic, numerical, *, rtol=None, atol=None, noise=0.0, exact=True):
    """The result for one array."""
    numbers = Numerical(np.array(numerical, np.float64).ravel(), "units", exact, 2.0**-30, lambda: noise)
    return compare(pack(analytic, finite=False), numbers, rtol, atol)


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
    [(np.float64, 5e-8, 2e-7), (np.float32, 5e-4, 2e-3), (np.float16, 5e-3, 6e-2)],
    ids=["float64", "float32", "float16"],
)
def test_default_tolerance_follows_the_dtype(dtype, right, wrong):
    exact = np.array([1.0, 2.0, 3.0], dtype)
    assert one(exact, exact * np.float64(1 + right)).arrays[0].wrong == 0
    assert one(exact, exact * np.float64(1 + wrong)).arrays[0].wrong == 3


def test_integer_gradients_count_as_exact():
    assert one(np.array([1, 2, 3]), [1.0, 2.0, 3.0 + 1e-6]).arrays[0].wrong == 1


def test_dtype_decides_array_by_array():
    tree = {"single": np.ones(2, np.float32), "double": np.ones(2)}
    comparison = one(tree, np.full(4, 1 + 1e-5))
    assert [(array.name, array.wrong) for array in comparison.arrays] == [("single", 0), ("double", 2)]
    assert comparison.arrays[0].rtol > comparison.arrays[1].rtol


def test_rounding_errors_of_large_entries_are_no_mistakes():
    """An entry that should be 0 comes out as a rounding error of the array's large entries."""
    assert one(np.array([1e6, 0.9e-8]), [1e6, 0.0]).arrays[0].wrong == 0
    assert one(np.array([1e6, 1.1e-8]), [1e6, 0.0]).arrays[0].wrong == 1


def test_what_is_below_truncation_is_no_mistake():
    """h² = 2^-60, where the whole gradient is 0."""
    assert one([0.9 * 2.0**-60], [0.0]).arrays[0].wrong == 0
    assert one([1.1 * 2.0**-60], [0.0]).arrays[0].wrong == 1


def test_arrays_that_vanish_beside_others_are_still_judged():
    comparison = one({"W": np.array([1e6]), "b": np.array([2e-10])}, [1e6, 1e-10])
    assert [array.wrong for array in comparison.arrays] == [0, 1]


def test_small_arrays_are_judged_by_their_own_size():
    comparison = one({"W": np.array([1e3]), "b": np.array([1.00001e-3])}, [1e3, 1e-3])
    assert [array.wrong for array in comparison.arrays] == [0, 1]


def test_numerical_noise_is_allowed_for():
    n = np.array([1.0, 2.0])
    assert one(n + 1e-4, n, noise=0.0).arrays[0].wrong == 2
    assert one(n + 1e-4, n, noise=2e-4).arrays[0].wrong == 0
    assert one(n + 1e-4, n, noise=np.array([2e-4, 1e-9])).arrays[0].wrong == 1


def test_plain_arithmetic_truncates():
    """Hence a wider rtol; but not wider than that of the dtype."""
    n = np.array([1.0, 2.0])
    assert one(n * (1 + 0.9e-5), n, exact=False).arrays[0].wrong == 0
    assert one(n * (1 + 1.2e-5), n, exact=False).arrays[0].wrong == 2
    assert one(n * (1 + 0.9e-5), n).arrays[0].wrong == 2
    assert one(n.astype(np.float32), n * (1 + 5e-4), exact=False).arrays[0].wrong == 0


def test_rounding_of_a_coarse_gradient_is_that_of_its_dtype():
    """What was added up to an entry of 0 has size 1, say: its float32 sum is off by an ulp of that."""
    n, rounding = np.array([1.0, 0.0]), ROUNDING_ULPS * EPSILON
    coarse = np.array([1.0, 1.1e-7], np.float32)
    assert one({"W": coarse[:1], "b": coarse[1:]}, n, noise=rounding).arrays[1].wrong == 0
    assert one({"W": n[:1], "b": coarse[1:].astype(float)}, n, noise=rounding).arrays[1].wrong == 1


@pytest.mark.parametrize("noise", [1.0, 1e10, np.inf, np.nan])
def test_numerical_noise_does_not_excuse_everything(noise):
    n = np.array([1.0, 2.0])
    assert one(2 * n, n, noise=noise).arrays[0].wrong == 2


def test_noise_does_not_count_with_an_atol_of_the_users_own():
    assert one([1.0 + 1e-4], [1.0], noise=1e-3, rtol=0.0, atol=1e-5).arrays[0].wrong == 1


@pytest.mark.parametrize("analytic", [np.nan, np.inf, -np.inf, 1.0])
@pytest.mark.parametrize("numerical", [np.nan, np.inf, -np.inf])
def test_not_finite_is_wrong_even_where_equal(analytic, numerical):
    for a, n in ((analytic, numerical), (numerical, analytic)):
        comparison = one(np.array([1.0, a]), [1.0, n], rtol=1e300, atol=1e300)
        assert comparison.arrays[0].wrong == 1
        assert comparison.excess[1] == np.inf
        assert np.isnan(comparison.relative_error)


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
