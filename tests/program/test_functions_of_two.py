"""Tests functions of two numbers: differences over wide ranges at 130 digits, ties, infinities, other special cases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from reference import mp, mpf

from gradcheck_fast.program.steps import PRIMITIVES

EPSILON = np.finfo(float).eps


def sized(random, count, low, high):
    return 10.0 ** random.uniform(low, high, count) * random.choice([-1.0, 1.0], count)


def anywhere(random, count):
    a, b = sized(random, count, -6, 6), sized(random, count, -6, 6)
    return a, b, a * sized(random, count, -20, 3), b * sized(random, count, -20, 3)


def inside(random, z, d):
    """Keeps z + d positive, in places only just."""
    return np.where(d <= -z, -z * (1.0 - 10.0 ** random.uniform(-10, -0.1, len(z))), d)


def nearly_equal(random, count):
    """Half of the numbers equal or nearly so."""
    a, b, da, db = anywhere(random, count)
    half = random.random(count) < 0.5
    return a, np.where(half, a * (1.0 + random.choice([0, 1], count) * sized(random, count, -16, 0)), b), da, db


def positive_second(random, count):
    a, b, da, db = anywhere(random, count)
    return a, abs(b), da, inside(random, abs(b), db)


def powers(random, count):
    a, _, da, _ = anywhere(random, count)
    return abs(a), random.uniform(-9.0, 9.0, count), inside(random, abs(a), da), sized(random, count, -20, 1)


def exponents(random, count):
    return *random.uniform(-80.0, 80.0, (2, count)), sized(random, count, -20, 2), sized(random, count, -20, 2)


class Pair(NamedTuple):
    exact: Callable[[Any, Any], Any]
    roundings: float = 2.5  # how many the difference may be off, relative to the parts of it that are added
    both: float = 2.5  # and if both numbers change
    drawn: Callable[[Any, int], tuple] = anywhere


PAIRS = {
    "add": Pair(lambda a, b: a + b, 0.5, 0.5),
    "subtract": Pair(lambda a, b: a - b, 0.5, 0.5),
    "multiply": Pair(lambda a, b: a * b, 0.5, 1.5),
    "divide": Pair(lambda a, b: a / b, 1.5, 2.5),
    "maximum": Pair(max, 1.0, 1.0, nearly_equal),
    "minimum": Pair(min, 1.0, 1.0, nearly_equal),
    "arctan2": Pair(mp.atan2),
    "hypot": Pair(mp.hypot),
    # where what is large and moves against the other one overtakes it, e^d has the error of d
    "logaddexp": Pair(lambda a, b: mp.log(mp.exp(a) + mp.exp(b)), 2.5, 32.0, exponents),
    # log(b) and its difference may cancel
    "xlogy": Pair(lambda a, b: a * mp.log(b), 2.5, 16.0, positive_second),
    "power": Pair(mp.power, drawn=powers),
}


def worst_difference(name, which, count):
    """Returns the largest error of a difference, in roundings of the two parts: a moves, and then b."""
    pair = PAIRS[name]
    a, b, *d = pair.drawn(np.random.default_rng(1), count)
    d = [change if which in ("both", k) else None for k, change in enumerate(d)]
    found = PRIMITIVES[name].difference([a, b], d)
    d = [np.zeros(count) if change is None else change for change in d]
    worst = 0.0
    with mp.workdps(130):
        for x, y, dx, dy, got in zip(*(at.tolist() for at in (a, b, *d, found)), strict=True):
            x, y, new_x, new_y = mpf(x), mpf(y), mpf(x) + mpf(dx), mpf(y) + mpf(dy)
            old, middle, new = (pair.exact(*at) for at in ((x, y), (x, new_y), (new_x, new_y)))
            parts = abs(new - middle) + abs(middle - old)
            if name == "multiply":
                parts = abs(x * mpf(dy)) + abs(mpf(dx) * y) + abs(mpf(dx) * mpf(dy))
            if name == "arctan2":  # a turn by nearly nothing is a difference of two products
                parts = max(
                    abs(new - old), (abs(x * mpf(dy)) + abs(y * mpf(dx))) / (mp.hypot(x, y) * mp.hypot(new_x, new_y))
                )
            if 1e-290 < parts < 1e290:
                worst = max(worst, float(abs(mpf(got) - (new - old)) / parts))
    return worst / EPSILON


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("which", [0, 1, "both"])
def test_a_difference_of_any_size(name, which):
    assert worst_difference(name, which, 60) <= (PAIRS[name].both if which == "both" else PAIRS[name].roundings)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("which", [0, 1, "both"])
@pytest.mark.long
def test_many_differences(name, which):
    assert worst_difference(name, which, 1500) <= (PAIRS[name].both if which == "both" else PAIRS[name].roundings)


@pytest.mark.parametrize("name", ["divide", "arctan2", "hypot", "logaddexp", "xlogy", "power"])
@pytest.mark.parametrize("k", [0, 1])
def test_slopes_at_all_distances_from_0(name, k):
    a, b, *_ = PAIRS[name].drawn(np.random.default_rng(2), 60)
    found = PRIMITIVES[name].back([a, b], k, np.ones_like(a))
    with mp.workdps(130):
        for x, y, slope in zip(a.tolist(), b.tolist(), found.tolist(), strict=True):
            at = [mpf(x), mpf(y)]
            h = mpf(10) ** -40 * abs(at[k])
            sides = [PAIRS[name].exact(*(z + side * h * (j == k) for j, z in enumerate(at))) for side in (1, -1)]
            true = (sides[0] - sides[1]) / (2 * h)
            assert abs(mpf(slope) - true) <= 1e-14 * abs(true)


def difference(name, *x_and_d):
    x, d = x_and_d[: len(x_and_d) // 2], x_and_d[len(x_and_d) // 2 :]
    arrays = [None if change is None else np.array(change, float) for change in d]
    return PRIMITIVES[name].difference([np.array(at, float) for at in x], arrays).tolist()


def back(name, k, *x):
    x = [np.array(at, float) for at in x]
    return PRIMITIVES[name].back(x, k, np.ones(np.broadcast(*x).shape)).tolist()


# ---- broadcasting


@pytest.mark.parametrize("name", [*PAIRS, "greater"])
@pytest.mark.parametrize("shapes", [((3, 1), (4,)), ((), (2, 3)), ((2, 1, 3), (4, 1)), ((), ()), ((0, 3), (3,))])
def test_inputs_are_broadcast_and_what_goes_back_is_summed(name, shapes):
    random, primitive = np.random.default_rng(0), PRIMITIVES[name]
    x = [np.asarray(random.uniform(0.5, 2.0, shape)) for shape in shapes]
    d = [np.asarray(random.uniform(-0.25, 0.25, shape)) for shape in shapes]
    full, d_full = np.broadcast_arrays(*x), np.broadcast_arrays(*d)
    up = np.asarray(random.normal(size=full[0].shape))
    assert primitive.shape(shapes) == full[0].shape
    for changes in (d, [d[0], None], [None, d[1]], [None, None]):
        found = primitive.difference(x, changes)
        whole = [None if part is None else at for part, at in zip(changes, d_full, strict=True)]
        assert isinstance(found, np.ndarray)
        assert np.array_equal(found, primitive.difference(full, whole))
    for k in (0, 1):
        found, whole = primitive.back(x, k, up), primitive.back(full, k, up)
        assert isinstance(found, np.ndarray)
        assert found.shape == shapes[k]
        assert found.sum() == pytest.approx(whole.sum(), rel=1e-12, abs=1e-14)
        spread = primitive.spread(x, k, up, np.abs(up), 2.0**-40)
        assert spread.sum() == pytest.approx(np.abs(primitive.spread(full, k, up, np.abs(up), 2.0**-40)).sum())
    masks = [np.zeros(shapes[0], bool), np.ones(shapes[1], bool)]
    assert primitive.reach(masks).shape == full[0].shape
    assert primitive.reach(masks).all()


# ---- powers


def test_whole_powers_of_numbers_of_any_sign():
    assert difference("power", [-2, -2, 2, -2, 0], [3, 2, 2, 4, 2], [5, 4, -4, 5, -3], None) == [35, 0, 0, 65, 9]
    for exponent in range(-3, 7):
        z, d = np.array([-2.0, -2.0, 0.5, 4.0]), np.array([-0.5, 1e-3, -1.0, 1e-9])
        (found,) = (PRIMITIVES["power"].difference([z, np.array(float(exponent))], [d, None]),)
        for a, b, got in zip(z.tolist(), d.tolist(), found.tolist(), strict=True):
            true = (mpf(a) + mpf(b)) ** exponent - mpf(a) ** exponent
            assert abs(mpf(got) - true) <= 4 * EPSILON * abs(true)
        expected = [float(exponent) * a ** (exponent - 1.0) for a in z.tolist()]
        assert back("power", 0, z, exponent) == pytest.approx(expected, rel=1e-14)


def test_powers_with_base_or_exponent_0():
    assert difference("power", [0, 0, 2, 0], [0, 1, 0, 0.5], [1, 1, 1, 4], None) == [0, 1, 0, 2]
    assert difference("power", [0, 0, 2], [2, 0, 3], None, [1, 1, 1]) == [0, -1, 8]
    for exponent, slope in [(0, 0.0), (1, 1.0), (2, 0.0), (3, 0.0), (4, 0.0), (5, 0.0)]:
        assert back("power", 0, [0.0], exponent) == pytest.approx([slope], abs=1e-99)
    assert back("power", 1, [0.0, 1.0], 2.0) == 0.0


def test_roots_of_negative_numbers_are_not_numbers_and_nothing_warns():
    for exponent in (0.5, 1.5, -0.25):
        assert np.isnan(difference("power", [-1.0, 1.0], exponent, [0.5, -2.0], None)).all()
    assert not np.isfinite(back("power", 0, [0.0], -1.0)).any()


# ---- the greater, the lesser, and comparisons


def test_ties_are_exact():
    assert difference("maximum", [1, 1, 1], [1, 1, 1], [1e-20, -1e-20, -1e-20], [0, 0, -2e-20]) == [1e-20, 0, -1e-20]
    assert difference("minimum", [1, 1, 1], [1, 1, 1], [1e-20, -1e-20, 1e-20], [0, 0, 2e-20]) == [0, -1e-20, 1e-20]
    assert back("maximum", 0, [1, 2, 3], [1, 3, 2]) == [0.5, 0, 1]
    assert back("maximum", 1, [1, 2, 3], [1, 3, 2]) == [0.5, 1, 0]
    assert back("minimum", 0, [1, 2, 3], [1, 3, 2]) == [0.5, 1, 0]
    for name in ("maximum", "minimum"):
        x = [np.array([1.0, 2.0]), np.array([1.0, 3.0])]
        assert PRIMITIVES[name].spread(x, 0, np.ones(2), np.zeros(2), 2.0**-40).tolist() == [1.0, 0.0]


def test_comparisons_see_the_least_difference():
    a, b, da, db = [1, 1, 1, 1, 2], [1, 1, 1, 2, 1], [1e-20, -1e-20, 1e-20, 1, 0], [0, 0, 1e-20, 0, 1]
    assert difference("greater", a, b, da, db) == [1, 0, 0, 0, -1]
    assert difference("greater_equal", a, b, da, db) == [0, -1, 0, 1, 0]
    assert difference("less", a, b, da, db) == [0, 1, 0, -1, 0]
    assert difference("less_equal", a, b, da, db) == [-1, 0, 0, 0, 1]
    assert difference("equal", a, b, da, db) == [-1, -1, 0, 1, 1]
    assert difference("not_equal", a, b, da, db) == [1, 1, 0, -1, -1]
    assert PRIMITIVES["less"].kinks([np.array([1.0, 2.0]), np.array(1.5)]).tolist() == [[-0.5, 0.5]]


def test_infinities_that_mask_something():
    inf = np.inf
    assert difference("maximum", [-inf, -inf, 2], [1, -inf, -inf], [0, 0, 0.5], [0.25, 0, 0]) == [0.25, 0, 0.5]
    assert difference("minimum", [inf, 2], [1, inf], [0, 0.5], [0.25, 0]) == [0.25, 0.5]
    assert difference("logaddexp", [-inf, -inf, 2], [1, -inf, -inf], [0, 0, 0.5], [0.25, 0, 0]) == [0.25, 0, 0.5]
    assert difference("greater", [-inf, 1, inf], [0, -inf, inf], [1, 1, 0], None) == [0, 0, 0]
    assert np.isnan(difference("maximum", [np.nan, 1], [1, np.nan], [1, 1], None)).all()


# ---- the choice


def test_a_choice_whose_mask_changes_is_exact():
    mask, a, b = [1, 0, 1, 0], [1, 2, 3, 4], [5, 6, 7, 8]
    assert difference("select", mask, a, b, [-1, 1, 0, 0], [1, 1, 1, 1], None) == [4, -3, 1, 0]
    assert difference("select", mask, a, b, None, None, [1, 1, 1, 1]) == [0, 1, 0, 1]
    assert difference("select", [1, 0], [1, 1], [1, 1], [-1, 1], [0, 1e-20], [1e-20, 0]) == [1e-20, 1e-20]
    assert difference("select", [1, 0], 2.0, [[1], [3]], None, 0.5, None) == [[0.5, 0], [0.5, 0]]


def test_what_is_not_chosen_may_be_infinite():
    x = [np.array([1.0, 0.0]), np.array([1.0, np.inf]), np.array([np.nan, 2.0])]
    assert PRIMITIVES["select"].value(x).tolist() == [1.0, 2.0]
    assert PRIMITIVES["select"].difference(x, [None, np.array([0.5, 0.5]), None]).tolist() == [0.5, 0.0]
    assert PRIMITIVES["select"].back(x, 1, np.array([2.0, np.inf])).tolist() == [2.0, 0.0]


# ---- size and direction


def test_the_angle_jumps_at_the_negative_axis_only():
    assert difference("arctan2", [1e-20, -1e-20, 1.0], [-1, -1, 1], [-2e-20, 2e-20, -2], None) == pytest.approx(
        [-2 * np.pi, 2 * np.pi, -np.pi / 2]
    )
    assert back("arctan2", 0, [0.0, 1e-20, 0.0], [-1, -1, 2]) == pytest.approx([-1.0, -1.0, 0.5])
    kinks = PRIMITIVES["arctan2"].kinks([np.array([0.25, -0.25, 0.0]), np.array([-1.0, -1.0, 1.0])])
    assert kinks.tolist() == [[0.25, -0.25, 1.0]]


def test_the_slope_of_the_size_is_0_at_the_origin():
    assert back("hypot", 0, [0.0, 3.0], [0.0, 4.0]) == pytest.approx([0.0, 0.6], rel=1e-15)
    assert difference("hypot", [0.0, 0.0], [0.0, 0.0], [3.0, 0.0], [4.0, 0.0]) == [5.0, 0.0]


def test_x_log_y_is_0_where_x_is_0():
    assert PRIMITIVES["xlogy"].value([np.zeros(2), np.array([0.0, 2.0])]).tolist() == [0.0, 0.0]
    assert difference("xlogy", [0, 0, 0], [0, 0, 2], [1, 0, 1], [2, 1, 0]) == pytest.approx(
        [np.log(2.0), 0.0, np.log(2.0)]
    )
    assert back("xlogy", 1, [0.0, 0.0, 1.0], [0.0, 2.0, 2.0]) == pytest.approx([0.0, 0.0, 0.5])
    assert back("xlogy", 0, [0.0, 1.0], [2.0, 2.0]) == pytest.approx([np.log(2.0)] * 2)
