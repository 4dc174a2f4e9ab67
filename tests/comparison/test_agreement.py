"""Gradients that agree are compared in one pass; what needs a closer look is left to the whole comparison."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.comparison._judge import glance
from gradcheck_fast.comparison.agreement import SURE_ROUNDINGS_OF_DOUBLES, agreement
from gradcheck_fast.comparison.compare import compare
from gradcheck_fast.inputs.trees import pack
from gradcheck_fast.kernels import _kernels
from gradcheck_fast.numerical.gradient import EPSILON, Kinks, Numerical

ISA = _kernels.instruction_sets()


def numerical(gradient, **options):
    return Numerical(np.asarray(gradient, float), "units", True, 2.0**-40, lambda times: gradient, **options)


def looked_at(analytic, gradient, n_threads=1, **options):
    return agreement(pack(analytic, finite=False), numerical(gradient, **options), n_threads)


def tree(seed=0, sizes=(70_000, 3, 0, 1)):
    random = np.random.default_rng(seed)
    return {f"a{k}": random.normal(size=size) * 10.0 ** (-k) for k, size in enumerate(sizes)}


def flat(arrays):
    return np.concatenate(list(arrays.values()))


# ---- one pass


@pytest.mark.parametrize("isa", ISA)
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_a_glance_is_what_numpy_says(isa, n_threads):
    random = np.random.default_rng(1)
    a, n = random.normal(size=(2, 50_021))
    n[[5, 40_000]] = 0.0
    ends = [17, 17, 33_000, 50_021]
    found = glance(a, n, ends, [0.1, 0.2, 0.3, 0.4], isa, n_threads)
    parts = zip(np.split(a, ends[:-1]), np.split(n, ends[:-1]), (0.1, 0.2, 0.3, 0.4), found, strict=True)
    for own, other, relative, row in parts:
        error = np.abs(own - other)
        sums = [(error**2).sum(), ((own + other) ** 2).sum(), (other**2).sum()]
        np.testing.assert_allclose(row[:3], sums, rtol=1e-13)
        assert row[3] == error.max(initial=0.0)
        assert row[4] == pytest.approx((error - relative * np.abs(other)).max(initial=-np.inf), rel=1e-12)
        assert row[5] == np.count_nonzero(other == 0.0)


def test_a_glance_is_bitwise_the_same_for_any_number_of_threads():
    a, n = np.random.default_rng(2).normal(size=(2, 100_001))
    first, *others = (glance(a, n, [100_001], [1e-3], ISA[0], threads) for threads in (1, 2, 3, 5))
    assert all((found == first).all() for found in others)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 15, 16, 100])
def test_a_number_that_is_not_finite_shows_in_the_sums(bad, place):
    a, n = np.ones((2, 101))
    a[place] = bad
    assert not np.isfinite(glance(a, n, [101], [0.1], ISA[0], 1)[0, :2].sum())
    assert not np.isfinite(glance(n, a, [101], [0.1], ISA[0], 1)[0, :2].sum())


# ---- the same as the whole comparison


def test_what_agrees_has_the_results_of_the_whole_comparison():
    """That a kink was crossed sends the same gradients the long way."""
    arrays = tree()
    n = flat(arrays)
    a = {name: array * (1.0 + EPSILON) for name, array in arrays.items()}
    found = looked_at(a, n)
    none = np.zeros_like(n)
    expected = compare(pack(a), numerical(n, kinks=Kinks(1, none, none)))
    assert found is not None
    assert found.relative_error == pytest.approx(expected.relative_error, rel=1e-10)
    for own, other in zip(found.arrays, expected.arrays, strict=True):
        assert (own.name, own.shape, own.wrong, own.size, own.status) == (
            other.name, other.shape, other.wrong, other.size, other.status,
        )  # fmt: skip
        assert own.largest_error == other.largest_error
        assert own.relative_error == pytest.approx(other.relative_error, rel=1e-10)
        assert own.atol == pytest.approx(other.atol, rel=1e-10)
    np.testing.assert_allclose(found.excess, expected.excess, rtol=1e-10)
    assert found.numerical is n


def test_it_does_not_depend_on_the_number_of_threads():
    arrays = tree(3)
    a = {name: array * (1.0 + 3.0 * EPSILON) for name, array in arrays.items()}
    one, two = (looked_at(a, flat(arrays), threads) for threads in (1, 2))
    assert one.arrays == two.arrays
    assert one.relative_error == two.relative_error


@pytest.mark.parametrize("array", ["a0", "a1", "a3"])
def test_one_entry_beyond_the_roundings_is_looked_at_closely(array):
    arrays = tree()
    n, spoilt = flat(arrays), {name: values.copy() for name, values in arrays.items()}
    size = np.sqrt(np.mean(spoilt[array] ** 2)) + abs(spoilt[array][-1])
    spoilt[array][-1] += 1.01 * SURE_ROUNDINGS_OF_DOUBLES * EPSILON * size
    assert looked_at(spoilt, n) is None
    spoilt[array][-1] = arrays[array][-1] + 0.9 * SURE_ROUNDINGS_OF_DOUBLES * EPSILON * size
    assert looked_at(spoilt, n) is not None


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_looked_at_closely(bad):
    a, n = np.ones((2, 40))
    a[3] = bad
    assert looked_at(a, n) is None
    assert looked_at(n, a) is None


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_squares_that_under_or_overflow_are_looked_at_closely_and_are_right(size):
    a = size * np.linspace(1.0, 2.0, 40)
    assert looked_at(a, a) is None
    assert compare(pack(a), numerical(a)).arrays[0].status == "right"


def test_an_array_of_zeros_has_nothing_to_check():
    found = looked_at({"a": np.zeros(5), "b": np.ones(5)}, np.repeat([0.0, 1.0], 5))
    assert [array.status for array in found.arrays] == ["nothing to check", "right"]


def test_float32_gradients_are_compared_in_their_own_roundings():
    n = np.linspace(1.0, 2.0, 40)
    a = n.astype(np.float32)
    assert looked_at(a, n) is not None
    a[7] *= np.float32(1.0 + 1e-5)
    assert looked_at(a, n) is None


def test_the_excess_is_found_when_it_is_asked_for_and_can_be_pickled():
    arrays = tree(sizes=(5, 3))
    n = flat(arrays)
    a = {name: array * (1.0 + 4.0 * EPSILON) for name, array in arrays.items()}
    found = pickle.loads(pickle.dumps(looked_at(a, n)))
    excess = found.excess
    assert excess.shape == n.shape
    assert ((excess >= 0.0) & (excess <= 1.0)).all()
    assert excess.max() > 0.0


def test_reports_tell_the_entries_that_come_nearest_to_their_tolerance():
    net = gf.Network(gf.Dense(2, 2), cost=gf.SquaredError())
    loss, params = net.loss(np.eye(2), np.ones((2, 2))), net.init(0)
    gradient = gf.numerical_gradient(loss, params)
    gradient["W1"][1, 0] *= 1.0 + 4.0 * EPSILON
    report = gf.gradcheck(loss, gradient, params)
    (worst,) = report.worst(1)
    assert report.ok
    assert (worst.array, worst.index) == ("W1", (1, 0))
