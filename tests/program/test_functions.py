"""Tests functions of one and of two numbers over wide ranges: differences and slopes at 130 digits, and special cases.

Arguments are from 1e-12 to 1e12 in size, some of them next to the ends of the domain. Differences are from 1e-20 to
1e3 times as large, and some lead next to an end of the domain, or to -z.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from reference import mp, mpf

from gradcheck_fast.program.steps import PRIMITIVES

EPSILON = np.finfo(float).eps
#: exp(-26^2), which is nearly the least double, has this many zeros less than the reference has digits.
DIGITS = 130


class Function(NamedTuple):
    exact: Callable[[Any], Any]
    low: float = -np.inf
    high: float = np.inf
    roundings: float = 3.0  # how many the difference may be off, relative to itself


#: The functions of one number, each with its domain; the exponential ones are differenced as far as they are finite.
FUNCTIONS = {
    "negative": Function(lambda z: -z, roundings=0.0),
    "absolute": Function(abs, roundings=0.5),
    "square": Function(lambda z: z * z, roundings=1.0),
    "reciprocal": Function(lambda z: 1 / z, roundings=1.5),
    "sqrt": Function(mp.sqrt, low=0.0, roundings=1.5),
    "cbrt": Function(lambda z: mp.sign(z) * mp.cbrt(abs(z))),
    "log": Function(mp.log, low=0.0, roundings=1.5),
    "log2": Function(lambda z: mp.log(z) / mp.log(2), low=0.0, roundings=1.5),
    "log10": Function(mp.log10, low=0.0, roundings=2.0),
    "log1p": Function(lambda z: mp.log(1 + z), low=-1.0, roundings=1.5),
    "expm1": Function(mp.exp, -700.0, 700.0, roundings=2.0),  # less 1, which differences do not contain
    "exp2": Function(lambda z: mpf(2) ** z, -1000.0, 1000.0, roundings=2.0),
    "sin": Function(mp.sin, roundings=2.0),
    "cos": Function(mp.cos, roundings=2.0),
    "tan": Function(mp.tan, roundings=2.5),
    "arcsin": Function(mp.asin, -1.0, 1.0, roundings=4.0),
    "arccos": Function(mp.acos, -1.0, 1.0, roundings=4.0),
    "arctan": Function(mp.atan, roundings=1.5),
    "sinh": Function(mp.sinh, -700.0, 700.0, roundings=2.0),
    "cosh": Function(mp.cosh, -700.0, 700.0, roundings=2.0),
    "arcsinh": Function(mp.asinh),
    "arccosh": Function(mp.acosh, low=1.0),
    "arctanh": Function(mp.atanh, -1.0, 1.0, roundings=2.0),
    "erf": Function(mp.erf, -26.0, 26.0),
    "erfc": Function(mp.erfc, -26.0, 26.0),
    "gammaln": Function(mp.loggamma, low=0.0, high=1e13, roundings=8.0),
    "digamma": Function(mp.digamma, low=0.0, high=1e12, roundings=6.0),
    "trigamma": Function(lambda z: mp.psi(1, z), low=0.0, high=1e12, roundings=6.0),
    "erfinv": Function(mp.erfinv, -1.0, 1.0, roundings=48.0),
}
SPECIAL = ("erf", "erfc", "gammaln", "digamma", "trigamma", "erfinv")
#: The largest relative errors of slopes; next to -1 and 1 the inverse of erf is rounded by what counts in its slope.
SLOPES = dict.fromkeys(FUNCTIONS, 2e-15) | {"erfinv": 8e-15}
JUMPS = ("sign", "floor", "ceil", "trunc", "rint")
each = pytest.mark.parametrize("name", FUNCTIONS)


def points(name, count):
    """Returns arguments and differences; see above."""
    _, low, high, _ = FUNCTIONS[name]
    random = np.random.default_rng(3)
    z = [sized(random, count, -12, 12), random.uniform(-30.0, 30.0, count), random.uniform(-1.0, 1.0, count)]
    ends = [end for end in (low, high) if np.isfinite(end)]
    z += [end + (1.0 if end == low else -1.0) * 10.0 ** random.uniform(-14, 0, count // 3) for end in ends]
    z = np.concatenate(z)
    z = z[(z > low) & (z < high)]
    d = [sized(random, len(z), -20, 3) * z]
    d += [(end - z) * (1.0 - 10.0 ** random.uniform(-14, -1, len(z))) for end in (*ends, -z)]
    z, d = np.tile(z, len(d)), np.concatenate(d)
    inside = [low < mpf(a) + mpf(b) < high for a, b in zip(z.tolist(), d.tolist(), strict=True)]
    few = random.permutation(np.flatnonzero(inside))[: 3 * count]
    return z[few], d[few]


def sized(random, count, low, high):
    return 10.0 ** random.uniform(low, high, count) * random.choice([-1.0, 1.0], count)


def exact_difference(name, a, b):
    """f(b) - f(a); the error function is that of the tails, which are far smaller than 1."""
    if name not in ("erf", "erfc"):
        return FUNCTIONS[name].exact(b) - FUNCTIONS[name].exact(a)
    found = mp.erfc(a) - mp.erfc(b) if a + b > 0 else mp.erfc(-b) - mp.erfc(-a)
    return found if name == "erf" else -found


def worst_difference(name, count):
    """Returns the largest error of a difference, in roundings of itself, or for log Gamma of d where that is larger."""
    z, d = points(name, count)
    worst, found = 0.0, PRIMITIVES[name].difference([z], [d])
    with mp.workdps(DIGITS):
        for a, b, difference in zip(z.tolist(), d.tolist(), found.tolist(), strict=True):
            true = exact_difference(name, mpf(a), mpf(a) + mpf(b))
            scale = max(abs(true), abs(mpf(b)) if name == "gammaln" else 0)
            if scale > 1e-300:
                worst = max(worst, float(abs(mpf(difference) - true) / scale))
    return worst / EPSILON


def worst_slope(name, count):
    """Returns the largest relative error of a slope."""
    z, _ = points(name, count)
    worst, found = 0.0, PRIMITIVES[name].back([z], 0, np.ones_like(z))
    ends = [0, *(end for end in FUNCTIONS[name][1:3] if np.isfinite(end))]
    with mp.workdps(DIGITS):
        for a, slope in zip(z.tolist(), found.tolist(), strict=True):
            h = mpf(10) ** -40 * min(1, *(abs(mpf(a) - end) for end in ends))
            true = exact_difference(name, mpf(a) - h, mpf(a) + h) / (2 * h)
            if abs(true) > 1e-290:
                scale = max(abs(true), 1) if name == "gammaln" else abs(true)
                worst = max(worst, float(abs(mpf(slope) - true) / scale))
    return worst


@each
def test_a_difference_of_any_size(name):
    assert worst_difference(name, 40) <= FUNCTIONS[name].roundings


@each
def test_a_slope_near_and_far_from_singularities(name):
    assert worst_slope(name, 30) <= SLOPES[name]


@each
@pytest.mark.long
def test_many_differences_and_slopes(name):
    assert worst_difference(name, 400) <= FUNCTIONS[name].roundings
    assert worst_slope(name, 200) <= SLOPES[name]


@pytest.mark.parametrize("name", [*FUNCTIONS, *JUMPS])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_arrays_of_any_shape(name, shape):
    primitive, z = PRIMITIVES[name], np.full(shape, 1.25 if name == "arccosh" else 0.25)
    d, up = np.full(shape, 0.125), np.full(shape, 2.0)
    rules = (
        primitive.value([z]),
        primitive.difference([z], [d]),
        primitive.difference([z], [None]),
        primitive.back([z], 0, up),
        primitive.spread([z], 0, up, up, 2.0**-40),
    )
    for found in rules:
        assert isinstance(found, np.ndarray)
        assert found.shape == shape
    assert not rules[2].any()
    assert np.allclose(rules[1], primitive.value([z + d]) - rules[0], rtol=1e-13, atol=0.0)


@pytest.mark.parametrize("name", sorted({*FUNCTIONS, *JUMPS} - {*SPECIAL}))
def test_values_are_those_of_numpy(name):
    z = np.linspace(1.0, 5.0, 9) if name == "arccosh" else np.linspace(-0.9, 0.9, 9)
    with np.errstate(all="ignore"):
        assert np.array_equal(PRIMITIVES[name].value([z]), getattr(np, name)(z), equal_nan=True)


@pytest.mark.parametrize(
    ("name", "at"),
    [("sqrt", 0.0), ("cbrt", 0.0), ("log", 0.0), ("log1p", -1.0), ("reciprocal", 0.0), ("arcsin", 1.0), ("log", -2.0),
     ("arccosh", 1.0), ("arctanh", -1.0), ("gammaln", -2.0), ("digamma", -1.0), ("trigamma", 0.0), ("erfinv", 1.0)],
)  # fmt: skip
def test_slopes_at_singularities_are_not_finite_and_nothing_warns(name, at):
    z = np.array([at, 1.5 if name == "arccosh" else 0.5])
    PRIMITIVES[name].value([z])
    slopes = PRIMITIVES[name].back([z], 0, np.ones(2))
    assert np.isfinite(slopes).tolist() == [False, True] or (name, at) == ("log", -2.0)


def test_the_slope_of_a_square_keeps_its_digits_at_tiny_numbers():
    z = np.array([0.0, 1e-30, -1e-200])
    assert PRIMITIVES["square"].back([z], 0, np.ones(3)) == pytest.approx(2.0 * z, rel=1e-15)
    assert PRIMITIVES["power"].back([z, np.array(3.0)], 0, np.ones(3)) == pytest.approx(
        3.0 * z**2, rel=1e-15, abs=1e-99
    )


# ---- special functions


def test_log_gamma_near_its_least_value_loses_the_digits_that_its_slope_lacks():
    """There the error is a few roundings of d; the difference is d times a slope that is nearly 0."""
    z = 1.4616321449683622 + np.array([-1e-3, -1e-6, -1e-9, 0.0, 1e-9, 1e-6])
    for d in (1e-20, 1e-12, 1e-6):
        for a, found in zip(z.tolist(), PRIMITIVES["gammaln"].difference([z], [np.full(6, d)]).tolist(), strict=True):
            true = mp.loggamma(mpf(a) + mpf(d)) - mp.loggamma(mpf(a))
            assert abs(mpf(found) - true) <= 8 * EPSILON * d


@pytest.mark.parametrize("d", [1e-15, -1e-9, 1e-3, 0.2, -6.1])
def test_log_gamma_between_its_poles(d):
    z = np.array([-0.25, -0.999, -1.4, -1e-6, -7.25, -25.5])
    for a, found in zip(z.tolist(), PRIMITIVES["gammaln"].difference([z], [np.full(6, d)]).tolist(), strict=True):
        new, old = (mp.log(abs(mp.gamma(at))) for at in (mpf(a) + mpf(d), mpf(a)))
        # of a difference that leads to another interval, or across 0, values are the parts
        parts = (
            3 * abs(mpf(d)) * abs(mp.cot(mp.pi * mpf(a))) + 4 * abs(mpf(d)) if abs(d) < 1e-2 else abs(new) + abs(old)
        )
        assert abs(mpf(found) - (new - old)) <= 8 * EPSILON * parts


@pytest.mark.parametrize("name", ["digamma", "trigamma"])
@pytest.mark.parametrize("d", [1e-15, -1e-9, 1e-3, 0.2])
def test_polygamma_functions_between_their_poles(name, d):
    """Below 0 two parts of opposite sign remain, neither of them much larger than the difference."""
    z = np.array([-0.25, -0.96, -1.4, -7.25, -25.5])
    for a, found in zip(z.tolist(), PRIMITIVES[name].difference([z], [np.full(5, d)]).tolist(), strict=True):
        order = int(name == "trigamma")
        new, old = (mp.psi(order, at) for at in (mpf(a) + mpf(d), mpf(a)))
        size = abs(new - old) + abs(mpf(d)) * mp.pi * (abs(old) + 1) / abs(mp.sin(mp.pi * mpf(a)))
        assert abs(mpf(found) - (new - old)) <= 16 * EPSILON * size


@pytest.mark.parametrize("name", ["digamma", "trigamma"])
def test_values_of_polygamma_functions(name):
    z = np.array([1e-9, 0.3, 0.5, 1.0, 3.7, 15.9, 16.1, 1e6, -0.3, -4.5, -19.999])
    for a, found in zip(z.tolist(), PRIMITIVES[name].value([z]).tolist(), strict=True):
        true = mp.psi(int(name == "trigamma"), mpf(a))
        assert abs(mpf(found) - true) <= 1e-15 * max(abs(true), 1) * (1 + 1e2 * (a < 0))


@pytest.mark.parametrize("name", ["erf", "erfc", "gammaln", "erfinv"])
def test_special_functions_are_scipys_if_it_has_been_imported(name, monkeypatch):
    z = np.array([[-1.5, 0.5], [3.0, 20.0]]) / (20.5 if name == "erfinv" else 1.0)
    monkeypatch.delitem(sys.modules, "scipy.special", raising=False)
    plain = PRIMITIVES[name].value([z])
    for a, found in zip(z.ravel().tolist(), plain.ravel().tolist(), strict=True):
        true = mp.log(abs(mp.gamma(mpf(a)))) if name == "gammaln" else FUNCTIONS[name].exact(mpf(a))
        assert abs(mpf(found) - true) <= 4 * EPSILON * abs(true)
    monkeypatch.setitem(sys.modules, "scipy.special", SimpleNamespace(**{name: lambda z: z + 1.0}))
    assert PRIMITIVES[name].value([z]).tolist() == (z + 1.0).tolist()


# ---- functions that jump


def test_jumps_are_seen_at_any_distance():
    tiny = 1e-20
    for name, z, d, expected in [
        ("floor", [1.0, 1.0, 0.5, -0.5, 7.0], [-tiny, tiny, 0.5, 1.0, -3.5], [-1.0, 0.0, 1.0, 1.0, -4.0]),
        ("ceil", [1.0, 1.0, 0.5], [-tiny, tiny, -0.5], [0.0, 1.0, -1.0]),
        ("trunc", [1.0, -1.0, -1.0, 0.5], [-tiny, -tiny, tiny, -1.0], [-1.0, 0.0, 1.0, 0.0]),
        ("rint", [0.5, 0.5, 1.5, 1.5, 2.0], [tiny, -tiny, tiny, -tiny, 0.5], [1.0, 0.0, 0.0, -1.0, 0.0]),
        ("sign", [0.0, 0.0, 1.0, -1.0], [1e-300, 0.0, -2.0, 1.0], [1.0, 0.0, -2.0, 1.0]),
    ]:
        assert PRIMITIVES[name].difference([np.array(z)], [np.array(d)]).tolist() == expected, name


@pytest.mark.parametrize(
    ("name", "places"),
    [("sign", [0]), ("floor", [-1, 0, 2]), ("ceil", [-1, 0, 2]), ("trunc", [-2, -1, 1, 3]), ("rint", [-0.5, 0.5, 1.5])],
)
def test_kinks_are_where_functions_jump(name, places):
    primitive, z = PRIMITIVES[name], np.array(places, float)
    assert not primitive.kinks([z]).any()
    below, above = (primitive.kinks([z + side])[0] for side in (-0.125, 0.125))
    assert (below * above < 0.0).all()
    assert (np.abs(below) == 0.125).all()
    assert (primitive.difference([z - 0.125], [np.full(z.shape, 0.25)]) != 0.0).all()
    assert not primitive.back([z], 0, np.ones_like(z)).any()


def test_truncation_does_not_jump_at_0():
    assert (np.abs(PRIMITIVES["trunc"].kinks([np.array([0.0, 0.25, -0.25])])) >= 0.75).all()
