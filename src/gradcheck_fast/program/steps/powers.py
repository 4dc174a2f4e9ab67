"""Defines powers, and more functions of two numbers: of their size and direction, and of their logarithms.

All act entry by entry and broadcast their inputs by NumPy's rules.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.program.primitive import entrywise_slope, slopes, smooth_spread, sum_to_shape
from gradcheck_fast.program.steps.arithmetic import as_output, binary, gap_of
from gradcheck_fast.program.steps.comparisons import maximum_difference
from gradcheck_fast.program.steps.elementwise import WORK
from gradcheck_fast.program.steps.functions import (
    AT_ZERO,
    absolute_difference,
    log_difference,
    reciprocal_difference,
    sqrt_difference,
    square_difference,
    three_sum,
    two_sum,
)

if TYPE_CHECKING:
    from gradcheck_fast.program.primitive import Reals

#: Two powers are subtracted as they stand where they differ by more than a factor of e to this.
FAR_APART = 0.7
#: e to this does not overflow.
LARGEST_EXPONENT = 700.0


# ---- powers


def _whole_difference(n: int, z: Reals, d: Reals) -> Reals:
    """Returns the exact difference of z^n: that of a square as often as n is even, and then of an odd power.

    The latter is d (b^m + b^(m-1) z + ... + z^m), where b = z + d and m is even. This sum is positive.
    """
    while n % 2 == 0:
        z, d, n = z * z, square_difference(z, d), n // 2
    if n == 1:
        return d
    moved, power = z + d, z
    found = moved + z
    for _ in range(n - 2):
        power = power * z
        found = found * moved + power
    return d * found


#: The exact differences of powers with these exponents, of which the whole ones have no singularity.
_WHOLE = {float(n): partial(_whole_difference, n) for n in range(1, 9)}
_SIMPLE: dict[float, Callable[[Reals, Reals], Reals]] = {
    -1.0: reciprocal_difference,
    0.0: lambda z, d: 0.0 * d,
    0.5: sqrt_difference,
    **_WHOLE,
}
#: What NumPy's ``**`` calls for these exponents, or products, which take a small part of the time of np.power.
_VALUES: dict[float, Callable[[Reals], Reals]] = {
    -1.0: np.reciprocal,
    0.5: np.sqrt,
    1.0: np.positive,
    2.0: np.square,
    3.0: lambda z: z * z * z,
    4.0: lambda z: np.square(z * z),
}


def _exponent(a: Reals, b: Reals) -> float | None:
    """Returns the exponent b if it is one number, and if the power has the shape of a."""
    return float(b.item()) if b.size == 1 and b.ndim <= a.ndim else None


def _power(a: Reals, b: Reals) -> Reals:
    simple = _VALUES.get(exponent) if (exponent := _exponent(a, b)) is not None else None
    return np.power(a, b) if simple is None else simple(a)


def _power_difference(a: Reals, b: Reals, da: Reals | None, db: Reals | None) -> Reals:
    """Returns the exact difference a^b expm1(t) of a power, where t = (b + db) log1p(da/a) + db log(a).

    Where t is not small, the powers are subtracted as they stand. An even power is that of \\|a\\|.
    """
    if db is None and da is not None and (exponent := _exponent(a, b)) in _SIMPLE:
        return _SIMPLE[exponent](a, da)
    if da is not None and db is None and ((a < 0.0) | (a + da < 0.0)).any():
        even = np.fmod(b, 2.0) == 0.0
        a, da = np.where(even, np.abs(a), a), np.where(even, absolute_difference(a, da), da)
    base, base_low = (a, 0.0) if da is None else two_sum(a, da)
    exponents, low = (b, 0.0) if db is None else two_sum(b, db)
    t = 0.0 if da is None else exponents * log_difference(a, da)
    if db is not None:
        t = t + db * np.log(a)
    old = np.power(a, b)
    near = np.abs(t) <= FAR_APART
    found = old * np.expm1(np.where(near, t, 0.0))
    if near.all():
        return found
    new = np.power(base, exponents)
    rounded = np.where(base_low == 0.0, 0.0, exponents * base_low / base)
    rounded = rounded + np.where(low == 0.0, 0.0, low * np.log(base))
    return np.where(near, found, new * (1.0 + rounded) - old)


def _power_distance(x: Sequence[Reals], k: int) -> Reals:
    """Returns the distance of the base from 0, less for large exponents. At 0 whole powers are smooth."""
    a, b = x
    if k == 1:
        return np.ones_like(b)
    if _exponent(a, b) in _WHOLE:
        return np.asarray(AT_ZERO)
    return np.where(a == 0.0, AT_ZERO, np.abs(a)) / np.maximum(1.0, np.abs(b))


# ---- size and direction


def _hypot_difference(a: Reals, b: Reals, da: Reals | None, db: Reals | None) -> Reals:
    """Returns the exact difference (da (2a + da) + db (2b + db)) / (r + s), where r and s are the two values."""
    moved = np.hypot(a if da is None else a + da, b if db is None else b + db)
    both = moved + np.hypot(a, b)
    both = both + (both == 0.0)
    parts = [d * ((2.0 * z + d) / both) for z, d in ((a, da), (b, db)) if d is not None]
    return np.asarray(sum(parts))


def _hypot_distance(x: Sequence[Reals], k: int) -> Reals:
    size = np.hypot(*x)
    return np.where(size == 0.0, 1.0, size)


def _turn(x: Sequence[Reals], d: Sequence[Reals | None]) -> Reals:
    """Returns the angle between the old vector (b, a) and the new one, by their products."""
    (a, b), (da, db) = x, d
    cross = (0.0 if da is None else b * da) - (0.0 if db is None else a * db)
    return np.arctan2(cross, a * (a if da is None else a + da) + b * (b if db is None else b + db))


def _arctan2_difference(a: Reals, b: Reals, da: Reals | None, db: Reals | None) -> Reals:
    """Returns the exact difference of the angle of the vector (b, a).

    It is the angle by which the vector turns, and a full turn more or less where it crosses the negative axis, at which
    the angle jumps.
    """
    turn = _turn((a, b), (da, db))
    new = np.arctan2(a if da is None else a + da, b if db is None else b + db)
    return turn + (2.0 * math.pi) * np.rint((new - np.arctan2(a, b) - turn) / (2.0 * math.pi))


def _from_cut(a: Reals, b: Reals) -> Reals:
    """Returns how far the vector (b, a) is from the negative axis, with the sign of a."""
    return np.where(b < 0.0, a, np.copysign(np.hypot(a, b), a))


# ---- logarithms


def _logaddexp_difference(a: Reals, b: Reals, da: Reals | None, db: Reals | None) -> Reals:
    """Returns the exact difference of log(e^a + e^b) = c + log(1 + e^-g), where c is the greater one, and g the gap.

    That of the logarithm is log1p(s expm1(d)) with s = 1 / (1 + e^g), where d is by how much -g changes. Where the
    lesser number overtakes the greater one by far, this may cancel: then two logarithms are subtracted.
    """
    first = a >= b
    gap, low = gap_of(a, b)
    gap, low = np.abs(gap), np.where(first, low, -low)
    one, other = 0.0 if da is None else da, 0.0 if db is None else db
    ahead = np.where(first, one, other)
    d = np.where(first, other, one) - ahead
    e = np.exp(-gap) * (1.0 - low)
    change = np.log1p(e / (1.0 + e) * np.expm1(np.minimum(d, LARGEST_EXPONENT)))
    change = ahead + change
    past = d - gap > 1.0
    if past.any():
        logarithms = np.log1p(np.exp(-three_sum(d, -gap, -low))) - np.log1p(np.exp(-gap))
        change = np.where(past, maximum_difference(a, b, da, db) + logarithms, change)
    return np.asarray(change)


def _xlogy(a: Reals, b: Reals) -> Reals:
    return np.where((a == 0.0) & ~np.isnan(b), 0.0, a * np.log(b))


def _xlogy_difference(a: Reals, b: Reals, da: Reals | None, db: Reals | None) -> Reals:
    """Returns the exact difference da log(b) + (a + da) (log(b + db) - log(b)); from b = 0 on, that of two values."""
    moved = a if da is None else a + da
    found = 0.0 if da is None else _xlogy(da, b)
    if db is not None:
        found = found + np.where(moved == 0.0, 0.0, moved * log_difference(b, db))
        if (b == 0.0).any():
            found = np.where(b == 0.0, _xlogy(moved, b + db) - _xlogy(a, b), found)
    return as_output(found, (a, b))  # type: ignore[arg-type]


def _xlogy_back(x: Sequence[Reals], k: int, up: Reals) -> Reals:
    """Multiplies by log b, or by a and the slope of log b; what is 0 stays 0 where that is infinite."""
    a, b = x
    if k == 0:
        return sum_to_shape(_xlogy(up, b), a.shape)
    part = sum_to_shape(np.asarray(up * a), b.shape)
    return np.where(part == 0.0, 0.0, part * slopes(_log, [b], 0, _from_zero))


def _xlogy_spread(x: Sequence[Reals], k: int, up: Reals, half: Reals, h: float) -> Reals:
    a, b = x
    if k == 1:
        return np.abs(_xlogy_back([np.abs(a), b], 1, half))
    return sum_to_shape(np.abs(_xlogy(half, b)), a.shape)


def _log(x: Sequence[Reals], d: Sequence[Reals]) -> Reals:
    return log_difference(x[0], d[0])


def _from_zero(x: Sequence[Reals], k: int) -> Reals:
    return np.abs(x[k])


PRIMITIVES = (
    binary("power", "{0} ** {1}", _power, _power_difference, distance=_power_distance, work=WORK),
    binary("hypot", "hypot({0}, {1})", np.hypot, _hypot_difference, distance=_hypot_distance, work=WORK),
    binary(
        "arctan2", "arctan2({0}, {1})", np.arctan2, _arctan2_difference, kinks=_from_cut, work=WORK,
        back=partial(entrywise_slope, _turn, distance=_hypot_distance),
        spread=partial(smooth_spread, _turn, distance=_hypot_distance),
    ),
    binary("logaddexp", "logaddexp({0}, {1})", np.logaddexp, _logaddexp_difference, work=WORK),
    binary("xlogy", "xlogy({0}, {1})", _xlogy, _xlogy_difference, back=_xlogy_back, spread=_xlogy_spread, work=WORK),
)  # fmt: skip
