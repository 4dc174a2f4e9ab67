"""Defines the digamma and the trigamma function, entry by entry: psi = (log Gamma)' and its derivative psi_1.

They are defined by their recurrences, their asymptotic series and their reflection at 1/2 (NIST Digital Library of
Mathematical Functions, 5.5, 5.11 and 5.15), and as functions of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.program.steps.functions import function, log_difference, two_sum

if TYPE_CHECKING:
    from gradcheck_fast.program.primitive import Reals

#: The arguments of the asymptotic series are at least this. The next terms are then below rounding.
_FAR_ENOUGH = 16
#: Bernoulli's numbers B_2, B_4, ....
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6)
#: psi(z) - log z is a polynomial in u = 1/z: -u/2 - sum of B_2k u^2k / 2k.
_DIGAMMA = (0.0, -0.5, *(c for k, b in enumerate(_BERNOULLI, 1) for c in (-b / (2 * k), 0.0)))
#: psi_1(z) is one too: u + u^2/2 + sum of B_2k u^(2k + 1).
_TRIGAMMA = (0.0, 1.0, 0.5, *(c for b in _BERNOULLI for c in (b, 0.0)))


def _polynomial(coefficients: tuple[float, ...], u: Reals, v: Reals) -> tuple[Reals, Reals]:
    """Returns a polynomial p(u), and its divided difference (p(v) - p(u)) / (v - u), by Horner's rule."""
    p, q = np.zeros_like(u), np.zeros_like(u)
    for coefficient in reversed(coefficients):
        p, q = p * u + coefficient, q * v + p
    return p, q


def _cot(z: Reals) -> Reals:
    angle = math.pi * (z - np.rint(z))
    return np.cos(angle) / np.sin(angle)


def _digamma(z: Reals) -> Reals:
    """Returns psi(z): infinite or NaN at the poles 0, -1, -2, ...."""
    z = np.asarray(z, np.float64)
    below = z < 0.5
    x = np.where(below, 1.0 - z, z)
    small = x < _FAR_ENOUGH
    far = np.where(small, x + _FAR_ENOUGH, x)
    found = np.log(far) + _polynomial(_DIGAMMA, 1.0 / far, 1.0 / far)[0]
    for k in range(_FAR_ENOUGH):
        found = found - np.where(small, 1.0 / (x + k), 0.0)
    return np.asarray(np.where(below, found - math.pi * _cot(z), found))


def _trigamma(z: Reals) -> Reals:
    """Returns psi_1(z)."""
    z = np.asarray(z, np.float64)
    below = z < 0.5
    x = np.where(below, 1.0 - z, z)
    small = x < _FAR_ENOUGH
    far = np.where(small, x + _FAR_ENOUGH, x)
    found = _polynomial(_TRIGAMMA, 1.0 / far, 1.0 / far)[0]
    for k in range(_FAR_ENOUGH):
        found = found + np.where(small, 1.0 / np.square(x + k), 0.0)
    mirror = np.square(math.pi / np.sin(math.pi * (z - np.rint(z))))
    return np.asarray(np.where(below, mirror - found, found))


def _terms(z: Reals, d: Reals, low: Reals, k: int) -> tuple[Reals, Reals]:
    """Returns 1 / (z + k) and 1 / (z + k + d), where z is rounded by -low."""
    a, error = two_sum(z, np.full_like(z, float(k)))
    b, more = two_sum(a, d)
    return 1.0 / (a + (error + low)), 1.0 / (b + (more + error + low))


def _positive_digamma_difference(z: Reals, d: Reals, low: Reals) -> Reals:
    """Returns the exact difference of psi where z and z + d are positive; all of its parts have the sign of d."""
    small = np.minimum(z, z + d) < _FAR_ENOUGH
    found = np.zeros_like(z)
    for k in range(_FAR_ENOUGH):
        u, v = _terms(z[small], d[small], low[small], k)
        found[small] += d[small] * u * v
    a = np.where(small, z + _FAR_ENOUGH, z)
    u, v = 1.0 / a, 1.0 / (a + d)
    return found + log_difference(a, d) - d * u * v * _polynomial(_DIGAMMA, u, v)[1]


def _positive_trigamma_difference(z: Reals, d: Reals, low: Reals) -> Reals:
    """Returns the exact difference of psi_1 where z and z + d are positive; all of its parts have the sign of -d."""
    small = np.minimum(z, z + d) < _FAR_ENOUGH
    found = np.zeros_like(z)
    for k in range(_FAR_ENOUGH):
        u, v = _terms(z[small], d[small], low[small], k)
        found[small] -= d[small] * u * v * (u + v)
    a = np.where(small, z + _FAR_ENOUGH, z)
    u, v = 1.0 / a, 1.0 / (a + d)
    return found - d * u * v * _polynomial(_TRIGAMMA, u, v)[1]


def _sine(z: Reals, low: Reals | float = 0.0) -> Reals:
    """Returns sin(pi (z + low)), with all digits near the zeros."""
    nearest = np.rint(z)
    return np.sin(math.pi * ((z - nearest) + low)) * np.where(nearest % 2.0 == 0.0, 1.0, -1.0)


def _cotangents(z: Reals, d: Reals) -> Reals:
    """Returns the exact difference of -pi cot(pi z): pi sin(pi d) / (sin(pi z) sin(pi (z + d)))."""
    return math.pi * _sine(d) / (_sine(z) * _sine(*two_sum(z, d)))


def _squares(z: Reals, d: Reals) -> Reals:
    """Returns the exact difference of pi^2 / sin^2(pi z), by sin^2 a - sin^2 b = sin(a - b) sin(a + b)."""
    product = _sine(z) * _sine(*two_sum(z, d))
    return -(math.pi**2) * _sine(d) * _sine(*two_sum(2.0 * z, d)) / np.square(product)


def digamma_difference(z: Reals, d: Reals) -> Reals:
    """Returns the exact difference of psi; below 0 by psi(z) = psi(1 - z) - pi cot(pi z)."""
    return _by_reflection(z, d, _positive_digamma_difference, 1.0, _cotangents, _digamma)


def trigamma_difference(z: Reals, d: Reals) -> Reals:
    """Returns the exact difference of psi_1; below 0 by psi_1(z) = pi^2 / sin^2(pi z) - psi_1(1 - z)."""
    return _by_reflection(z, d, _positive_trigamma_difference, -1.0, _squares, _trigamma)


def _by_reflection(
    z: Reals, d: Reals, positive_difference: Callable[..., Reals], sign: float, mirror: Callable[..., Reals],
    value: Callable[[Reals], Reals],
) -> Reals:  # fmt: skip
    """Returns the exact difference of f, which below 0 is sign f(1 - z) plus what `mirror` differences.

    Across 0 two values are subtracted.
    """
    z, d = np.asarray(z), np.asarray(d)
    moved = z + d
    positive, negative = (z > 0.0) & (moved > 0.0), (z < 0.0) & (moved < 0.0)
    found = np.empty_like(moved)
    found[positive] = positive_difference(z[positive], d[positive], np.zeros(np.count_nonzero(positive)))
    if not positive.all():
        a, b = z[negative], d[negative]
        mirrored, low = two_sum(np.ones_like(a), -a)
        found[negative] = sign * positive_difference(mirrored, -b, low) + mirror(a, b)
        across = ~(positive | negative)
        found[across] = value(moved[across]) - value(z[across])
    return found


def _to_pole(z: Reals) -> Reals:
    """Returns the distance to the nearest pole: 0, -1, -2, ...."""
    return np.where(z > 0.5, z, np.abs(z - np.rint(z)))


PRIMITIVES = (
    function("digamma", _digamma, digamma_difference, distance=_to_pole),
    function("trigamma", _trigamma, trigamma_difference, distance=_to_pole),
)
