"""Defines the error function and the logarithm of the gamma function, entry by entry.

Their values are SciPy's if the user has imported it, because NumPy has none, and otherwise those of the C library.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.kernels import _kernels
from gradcheck_fast.program.steps.elementwise import NODES, WEIGHTS
from gradcheck_fast.program.steps.functions import function, log_difference, sin_difference, two_sum

if TYPE_CHECKING:
    from gradcheck_fast.program.primitive import Reals

TWO_OVER_SQRT_PI = 2.0 / math.sqrt(math.pi)
#: Veltkamp's factor: it splits a double into two halves of 26 digits.
_SPLIT = 2.0**27 + 1.0
#: The coefficients B_2k / (2k (2k - 1)) of Stirling's series, B being Bernoulli's numbers. At 10 and above the next
#: term is below rounding.
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
#: The arguments of Stirling's series are at least this.
_FAR_ENOUGH = 10


def _lgamma(z: float) -> float:
    """Returns log |Gamma(z)|, which is infinite at the poles and where it overflows."""
    try:
        return math.lgamma(z)
    except (ValueError, OverflowError):
        return math.inf


_PLAIN: dict[str, Callable[[Reals], Reals]] = {
    "erf": _kernels.erf,
    "erfc": _kernels.erfc,
    "gammaln": np.vectorize(_lgamma, otypes=[np.float64]),
}


def special(name: str) -> Callable[[Reals], Reals]:
    """Returns the function of that name: SciPy's, if the user has imported it, and otherwise the C library's."""

    def value(z: Reals) -> Reals:
        found = sys.modules.get("scipy.special")
        return np.asarray((getattr(found, name, None) or _PLAIN[name])(z))

    return value


# ---- the error function


def _exp_of_minus_square(a: Reals, low: Reals) -> Reals:
    """Returns exp(-(a + low)^2), where `low` is a rounding error of a: a^2 is split into an exact square and a rest."""
    split = _SPLIT * a
    high = split - (split - a)
    return np.exp(-high * high) * np.exp(-((a - high) * (a + high) + 2.0 * a * low))


def erf_difference(z: Reals, d: Reals) -> Reals:
    """Returns erf(z + d) - erf(z): the integral of 2 exp(-t^2) / sqrt(pi) by quadrature, or two values subtracted.

    With the middle m = z + d/2, the integrand is exp(-m^2) exp(-s (2m + s)). Gauss-Legendre quadrature is exact to
    rounding while |d| (1 + sqrt(2) |m|) <= 0.8. Beyond, where z and z + d have one sign, the tails are subtracted.
    """
    middle, low = two_sum(z, 0.5 * d)
    near = np.abs(d) * (1.0 + math.sqrt(2.0) * np.abs(middle)) <= 0.8
    s = 0.5 * np.where(near, d, 0.0)[..., np.newaxis] * NODES
    integral = np.exp(-s * (2.0 * middle[..., np.newaxis] + s)) @ WEIGHTS
    found = (0.5 * TWO_OVER_SQRT_PI) * d * _exp_of_minus_square(middle, low) * integral
    far = ~near
    if far.any():
        found = np.asarray(found)
        found[far] = _far_erf_difference(np.asarray(z)[far], np.asarray(d)[far])
    return np.asarray(found)


def _far_erf_difference(z: Reals, d: Reals) -> Reals:
    moved, low = two_sum(z, d)
    side = np.where(z + moved > 0.0, 1.0, -1.0)
    correction = TWO_OVER_SQRT_PI * low * np.exp(-moved * moved)
    tails = side * (_kernels.erfc(side * z) - _kernels.erfc(side * moved)) + correction
    across = _kernels.erf(moved) - _kernels.erf(z) + correction
    return np.asarray(np.where((z < 0.0) == (moved < 0.0), tails, across))


# ---- the logarithm of the gamma function


def gammaln_difference(z: Reals, d: Reals) -> Reals:
    """Returns the exact difference of log |Gamma|.

    Below 0 it is that of log(pi / |sin(pi z)|) less that of log Gamma(1 - z). Across 0 two values are subtracted.
    Near 1.46, where log Gamma is least, and where it is flat between two poles, the parts cancel: the error is then a
    few roundings of d, or of d over the distance to the nearest pole.
    """
    z, d = np.asarray(z), np.asarray(d)
    moved = z + d
    positive, negative = (z > 0.0) & (moved > 0.0), (z < 0.0) & (moved < 0.0)
    found = np.empty_like(moved)
    found[positive] = _positive_gammaln_difference(z[positive], d[positive])
    if not positive.all():
        a, b = z[negative], d[negative]
        mirrored, low = two_sum(np.ones_like(a), -a)
        found[negative] = -_log_sin_difference(a, b) - _positive_gammaln_difference(mirrored, -b, low)
        across = ~(positive | negative)
        found[across] = _PLAIN["gammaln"](moved[across]) - _PLAIN["gammaln"](z[across])
    return found


def _log_sin_difference(z: Reals, d: Reals) -> Reals:
    """Returns the exact difference of log |sin(pi z)|, whose period is 1."""
    angle, turn = math.pi * (z - np.rint(z)), math.pi * (d - 2.0 * np.rint(0.5 * d))
    ratio = sin_difference(angle, turn) / np.sin(angle)
    moved, low = two_sum(z, d)
    new = np.sin(math.pi * ((moved - np.rint(moved)) + low))
    return np.where(ratio > -0.5, np.log1p(np.maximum(ratio, -0.5)), np.log(np.abs(new / np.sin(angle))))


def _positive_gammaln_difference(z: Reals, d: Reals, low: Reals | float = 0.0) -> Reals:
    """Returns the exact difference of log Gamma where z and z + d are positive; `low` is the rounding error of z.

    Stirling's formula is (z - 1/2) log z - z + S(1/z) and a constant. Its difference is
    d (log(z + d) - 1) + (z - 1/2) log1p(d/z), and that of the polynomial S. Where an argument is too small for the
    formula, log Gamma(z + n) less the sum of log(z + k) takes its place.
    """
    small = np.minimum(z, z + d) < _FAR_ENOUGH
    found = np.zeros_like(z)
    for k in range(_FAR_ENOUGH):
        a, b = z[small], d[small]
        shifted, error = two_sum(a, np.full_like(a, float(k)))
        more = low if isinstance(low, float) else low[small]
        found[small] -= log_difference(shifted, b, error + more)
    a = np.where(small, z + _FAR_ENOUGH, z)
    u, v = 1.0 / a, 1.0 / (a + d)
    # a polynomial p and its divided difference q, by Horner's rule: S is u p(u^2)
    p, q = np.zeros_like(a), np.zeros_like(a)
    for coefficient in reversed(_STIRLING):
        p, q = p * (u * u) + coefficient, q * (v * v) + p
    series = -d * u * v * (p + v * (u + v) * q)
    return found + (d * (np.log(a + d) - 1.0) + (a - 0.5) * log_difference(a, d) + series)


PRIMITIVES = (
    function("erf", special("erf"), erf_difference),
    function("erfc", special("erfc"), lambda z, d: -erf_difference(z, d)),
    function(
        "gammaln",
        special("gammaln"),
        gammaln_difference,
        distance=lambda z: np.where(z > 0.5, z, np.abs(z - np.rint(z))),
    ),
)
