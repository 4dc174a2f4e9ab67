"""Defines more functions of one number that act entry by entry. They have no kernels, and layers do not take them.

The exact difference is f(z + d) - f(z), rewritten so that nothing cancels. Where it would lose digits that z + d is
rounded, the rounding error is computed, too (`two_sum`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.program.primitive import (
    SLOPE_STEP,
    Primitive,
    change_of,
    entrywise_slope,
    entrywise_spread,
    linear_spread,
    one_shape,
    same_entry,
    smooth,
    smooth_spread,
    without_warnings,
)
from gradcheck_fast.program.steps.elementwise import WORK

if TYPE_CHECKING:
    from gradcheck_fast.program.primitive import Reals, Shape

    Rule = Callable[[Reals, Reals], Reals]
    Function = Callable[[Reals], Reals]

#: The estimated number of operations of one evaluation of what is computed by a few additions and products.
FEW = 3.0
#: From this d on, e^(z + d) - e^z is subtracted as it stands; e^d might overflow.
LARGE_EXPONENT = 30.0
#: The slopes of whole powers may be found with any step. One so much smaller than others suits them at 0, too.
AT_ZERO = 2.0**-200
#: The cosine of a smaller number is 1, but for less than a rounding.
TINY_ANGLE = 2.0**-27
_LOG_2 = math.log(2.0)


# ---- sums without rounding


def two_sum(a: Reals, b: Reals) -> tuple[Reals, Reals]:
    """Returns the rounded sum of two numbers, and its rounding error, which is exact (Knuth's algorithm)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def three_sum(a: Reals, b: Reals, c: Reals) -> Reals:
    """Returns the sum of three numbers to one rounding or two, also where it cancels."""
    first, error = two_sum(a, b)
    total, more = two_sum(first, c)
    return total + (error + more)


# ---- records


def function(
    name: str, value: Function, difference: Rule, *, back: Callable[..., Reals] | None = None,
    kinks: Function | None = None, distance: Function | None = None, work: float = WORK,
) -> Primitive:  # fmt: skip
    """Returns the primitive of a function of one number without a kernel.

    Parameters
    ----------
    name : str
    value : callable
        ``value(z)`` returns the value.
    difference : callable
        ``difference(z, d)`` returns the exact difference.
    back : callable, optional
        As in `Primitive`; without it, slopes are found by differences.
    kinks : callable, optional
        ``kinks(z)`` is 0 where the slope jumps, and has different signs on the two sides.
    distance : callable, optional
        ``distance(z)`` returns the distance of z from the nearest singularity. Without it, there is none within 1 of
        any z.
    work : float
        The estimated number of operations for one entry.
    """

    def of_all(x: Sequence[Reals], d: Sequence[Reals | None]) -> Reals:
        return np.asarray(difference(x[0], change_of(x, d)))

    far = None if distance is None else lambda x, k: distance(x[0])
    spread = (
        partial(smooth_spread, of_all, distance=far)
        if kinks is None
        else partial(entrywise_spread, of_all, margins(kinks))
    )
    return Primitive(
        name, f"{name}({{0}})", one_shape(1), of_value(value), without_warnings(of_all),
        without_warnings(back or partial(entrywise_slope, of_all, distance=far)), same_entry,
        margins(kinks) if kinks else smooth, without_warnings(spread), work_of(work),
    )  # fmt: skip


def of_value(value: Function) -> Callable[[Sequence[Reals]], Reals]:
    """Returns the rule `value` of a function of one number."""
    return without_warnings(lambda x: np.asarray(value(x[0])))


def margins(kinks: Function) -> Callable[[Sequence[Reals]], Reals]:
    """Returns the rule `kinks` of a function with one kind of kinks."""
    return lambda x: np.asarray(kinks(x[0]))[np.newaxis]


def work_of(each: float) -> Callable[[Sequence[Shape]], float]:
    """Returns the rule `work` of a function that does so many operations for each entry."""
    return lambda shapes: each * float(math.prod(shapes[0]))


# ---- powers and logarithms


def absolute_difference(z: Reals, d: Reals) -> Reals:
    """Returns |z + d| - |z|: d or -d, or -(2z + d) with the sign of z where z and z + d lie on two sides of 0."""
    negative = z < 0.0
    along = np.where(negative, -d, d)
    across = (z + d < 0.0) != negative
    if across.any():
        along = np.where(across, np.where(negative, 2.0 * z + d, -(2.0 * z + d)), along)
    return along


def square_difference(z: Reals, d: Reals) -> Reals:
    """Returns (z + d)^2 - z^2 = d (2z + d)."""
    return d * (2.0 * z + d)


def reciprocal_difference(z: Reals, d: Reals) -> Reals:
    """Returns 1 / (z + d) - 1 / z = -d / (z (z + d))."""
    return -(d / z) / (z + d)


def sqrt_difference(z: Reals, d: Reals) -> Reals:
    """Returns the exact difference d / (sqrt(z + d) + sqrt(z)) of the square root; where that is 0 / 0, d is 0."""
    both = np.sqrt(z + d) + np.sqrt(z)
    return np.asarray(np.divide(d, both + (both == 0.0)))


def cbrt_difference(z: Reals, d: Reals) -> Reals:
    """Returns the exact difference d / (u^2 + uv + v^2) of the cube root, where u and v are the two values."""
    u, v = np.cbrt(z + d), np.cbrt(z)
    both = u * u + u * v + v * v
    return np.asarray(np.divide(d, both + (both == 0.0)))


def log_difference(z: Reals, d: Reals, low: Reals | float = 0.0) -> Reals:
    """Returns log(z + d) - log(z) = log1p(d / z), or the logarithm of the ratio where z + d is small.

    The difference z + d is then exact. The number is z + low, if `low` is the rounding error of z.
    """
    ratio = d / z
    found = np.log1p(ratio)
    small = ratio < -0.5
    if small.any():
        found = np.where(small, np.log(((z + d) + low) / z), found)
    return found


def log1p_difference(z: Reals, d: Reals) -> Reals:
    """Returns the exact difference of log(1 + z)."""
    one = np.ones_like(z)
    total, low = two_sum(one, z)
    return log_difference(total, d, low)


def _exponential_difference(z: Reals, d: Reals, exp: Function, less_one: Function, log: float, large: float) -> Reals:
    """Returns b^z (b^d - 1), or b^(z + d) - b^z where d is large, for e and 2; `log` is the logarithm of the base b."""
    found = exp(z) * less_one(np.minimum(d, large))
    far = d > large
    if far.any():
        moved, low = two_sum(z, d)
        found = np.where(far, exp(moved) * (1.0 + log * low) - exp(z), found)
    return found


def exp_difference(z: Reals, d: Reals) -> Reals:
    """Returns the exact difference e^z expm1(d) of the exponential function."""
    return _exponential_difference(z, d, np.exp, np.expm1, 1.0, LARGE_EXPONENT)


def _exp2_less_one(d: Reals) -> Reals:
    """Returns 2^d - 1, which loses no digits as it stands unless d is small."""
    return np.where(np.abs(d) < 1.0, np.expm1(_LOG_2 * d), np.exp2(d) - 1.0)


# ---- circular functions


def _middle(z: Reals, d: Reals) -> tuple[Reals, Reals]:
    return two_sum(z, 0.5 * d)


def _cos(a: Reals, low: Reals) -> Reals:
    """Returns cos(a + low), where `low` is a rounding error of a."""
    cos, sin = _of_rounding_error(low)
    return np.asarray(np.subtract(np.cos(a) * cos, np.sin(a) * sin))


def _sin(a: Reals, low: Reals) -> Reals:
    cos, sin = _of_rounding_error(low)
    return np.asarray(np.add(np.sin(a) * cos, np.cos(a) * sin))


def _of_rounding_error(low: Reals) -> tuple[Reals | float, Reals]:
    """Returns the cosine and the sine, which are 1 and the number itself where that is small."""
    return (1.0, low) if np.abs(low).max(initial=0.0) < TINY_ANGLE else (np.cos(low), np.sin(low))


def sin_difference(z: Reals, d: Reals) -> Reals:
    """Returns the exact difference 2 cos(z + d/2) sin(d/2) of the sine."""
    return 2.0 * _cos(*_middle(z, d)) * np.sin(0.5 * d)


def cos_difference(z: Reals, d: Reals) -> Reals:
    """Returns the exact difference -2 sin(z + d/2) sin(d/2) of the cosine."""
    return -2.0 * _sin(*_middle(z, d)) * np.sin(0.5 * d)


def tan_difference(z: Reals, d: Reals) -> Reals:
    """Returns the exact difference sin(d) / (cos(z) cos(z + d)) of the tangent."""
    return np.sin(d) / np.cos(z) / _cos(*two_sum(z, d))


def arcsin_difference(z: Reals, d: Reals) -> Reals:
    """Returns the exact difference of the arc sine: an angle with the sine N / D and the cosine C.

    With a = z and b = z + d on one side of 0, N = b^2 - a^2 = d (a + b), D = b sqrt(1 - a^2) + a sqrt(1 - b^2), and
    C = sqrt(1 - a^2) sqrt(1 - b^2) + a b: nothing cancels. Otherwise the two values differ in sign and are subtracted.
    """
    moved = z + d
    sign = np.copysign(1.0, moved)
    old = np.sqrt((1.0 - z) * (1.0 + z))
    new = np.sqrt(three_sum(np.ones_like(z), -sign * z, -sign * d) * (1.0 + np.abs(moved)))
    across = np.arctan2(moved, new) - np.arcsin(z)
    along = np.arctan2(d * (z + moved) / (moved * old + z * new), old * new + z * moved)
    return np.where(np.sign(z) * np.sign(moved) > 0.0, along, across)


def arctan_difference(z: Reals, d: Reals) -> Reals:
    """Returns the exact difference of the arc tangent: an angle, less than a half turn, with the tangent d / (1 + ab).

    Here a = z and b = z + d.
    """
    return np.arctan2(d, 1.0 + z * (z + d))


# ---- hyperbolic functions


def sinh_difference(z: Reals, d: Reals) -> Reals:
    """Returns the exact difference 2 cosh(z + d/2) sinh(d/2) of the hyperbolic sine."""
    middle, low = _middle(z, d)
    return 2.0 * (np.cosh(middle) + low * np.sinh(middle)) * np.sinh(0.5 * d)


def cosh_difference(z: Reals, d: Reals) -> Reals:
    """Returns the exact difference 2 sinh(z + d/2) sinh(d/2) of the hyperbolic cosine."""
    middle, low = _middle(z, d)
    return 2.0 * (np.sinh(middle) + low * np.cosh(middle)) * np.sinh(0.5 * d)


def arcsinh_difference(z: Reals, d: Reals) -> Reals:
    """Returns the exact difference of the inverse hyperbolic sine, by the difference of its hyperbolic sine.

    With a = z and b = z + d on one side of 0, that is d (a + b) / (b sqrt(1 + a^2) + a sqrt(1 + b^2)). Otherwise the
    two values differ in sign and are subtracted.
    """
    moved = z + d
    across = np.arcsinh(moved) - np.arcsinh(z)
    along = np.arcsinh(d * ((z + moved) / (moved * np.hypot(1.0, z) + z * np.hypot(1.0, moved))))
    return np.where(np.sign(z) * np.sign(moved) > 0.0, along, across)


def arccosh_difference(z: Reals, d: Reals) -> Reals:
    """Returns the exact difference of the inverse hyperbolic cosine, by the difference of its hyperbolic sine.

    With a = z and b = z + d that is d (a + b) / (a sqrt(b^2 - 1) + b sqrt(a^2 - 1)).
    """
    moved = z + d
    old = np.sqrt(z - 1.0) * np.sqrt(z + 1.0)
    new = np.sqrt(three_sum(z, np.full_like(z, -1.0), d)) * np.sqrt(moved + 1.0)
    both = z * new + moved * old
    return np.asarray(np.arcsinh(d * ((z + moved) / (both + (both == 0.0)))))


def arctanh_difference(z: Reals, d: Reals) -> Reals:
    """Returns half the difference of log(1 + z), less half that of log(1 - z), which has the other sign."""
    return 0.5 * (log1p_difference(z, d) - log1p_difference(-z, -d))


# ---- all of them


def _negative_back(x: Sequence[Reals], k: int, up: Reals) -> Reals:
    return np.asarray(np.negative(up))


def _absolute_back(x: Sequence[Reals], k: int, up: Reals) -> Reals:
    """Multiplies by the central difference (|z + h| - |z - h|) / 2h, which is z / h, but no more than 1 in size."""
    return np.asarray(up * np.minimum(np.maximum(x[0] / SLOPE_STEP, -1.0), 1.0))


NEGATIVE = Primitive(
    "negative", "-{0}", one_shape(1), lambda x: np.asarray(np.negative(x[0])),
    lambda x, d: np.asarray(np.negative(change_of(x, d))), _negative_back, same_entry, smooth,
    linear_spread(_negative_back), work_of(1.0),
)  # fmt: skip

PRIMITIVES = (
    NEGATIVE,
    function("absolute", np.abs, absolute_difference, back=_absolute_back, kinks=lambda z: z, work=FEW),
    function("square", np.square, square_difference, distance=lambda z: np.asarray(AT_ZERO), work=FEW),
    function("reciprocal", np.reciprocal, reciprocal_difference, distance=np.abs, work=FEW),
    function("sqrt", np.sqrt, sqrt_difference, distance=np.abs),
    function("cbrt", np.cbrt, cbrt_difference, distance=np.abs),
    function("log", np.log, log_difference, distance=np.abs),
    function("log2", np.log2, lambda z, d: log_difference(z, d) / _LOG_2, distance=np.abs),
    function("log10", np.log10, lambda z, d: log_difference(z, d) / math.log(10.0), distance=np.abs),
    function("log1p", np.log1p, log1p_difference, distance=lambda z: np.abs(1.0 + z)),
    function("expm1", np.expm1, exp_difference),
    function("exp2", np.exp2, lambda z, d: _exponential_difference(z, d, np.exp2, _exp2_less_one, _LOG_2, 60.0)),
    function("sin", np.sin, sin_difference),
    function("cos", np.cos, cos_difference),
    function("tan", np.tan, tan_difference, distance=lambda z: np.abs(np.cos(z))),
    function("arcsin", np.arcsin, arcsin_difference, distance=lambda z: np.abs(1.0 - np.abs(z))),
    function("arccos", np.arccos, lambda z, d: -arcsin_difference(z, d), distance=lambda z: np.abs(1.0 - np.abs(z))),
    function("arctan", np.arctan, arctan_difference),
    function("sinh", np.sinh, sinh_difference),
    function("cosh", np.cosh, cosh_difference),
    function("arcsinh", np.arcsinh, arcsinh_difference),
    function("arccosh", np.arccosh, arccosh_difference, distance=lambda z: np.abs(z - 1.0)),
    function("arctanh", np.arctanh, arctanh_difference, distance=lambda z: np.abs(1.0 - np.abs(z))),
)
