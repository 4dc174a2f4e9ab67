"""Defines the inverse of the error function, entry by entry, as the solution of erf(w) = z by Newton's method.

The slopes that Newton's method needs are central differences of the exact difference of erf.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.kernels import _kernels
from gradcheck_fast.program.primitive import SLOPE_STEP
from gradcheck_fast.program.steps.functions import function, two_sum
from gradcheck_fast.program.steps.special import erf_difference

if TYPE_CHECKING:
    from gradcheck_fast.program.primitive import Reals

#: Where |z| is larger, erfc(w) = 1 - |z| is solved, which keeps its digits.
_TAIL = 0.5
#: The number of steps after which either equation is solved to rounding.
_STEPS = 6
#: Of the first guess: Winitzki, A handy approximation for the error function and its inverse (2008).
_GUESS = 0.147

#: Differences below this are guessed to be straight.
_STRAIGHT = 1e-3


def _slope_of_erf(w: Reals) -> Reals:
    h = np.full_like(w, SLOPE_STEP)
    return (erf_difference(w, h) - erf_difference(w, -h)) / (2.0 * SLOPE_STEP)


def _inverse(size: Reals, rest: Reals) -> Reals:
    """Returns the inverse at the numbers `size`, which are not negative, and 1 less `rest`."""
    inner = (rest > 0.0) & (size > 0.0)
    log = np.log(np.where(inner, rest * (1.0 + size), 1.0))
    half = 2.0 / (math.pi * _GUESS) + 0.5 * log
    near_zero = size < _TAIL
    w = np.where(near_zero, size * (0.5 * math.sqrt(math.pi)), np.sqrt(np.sqrt(half * half - log / _GUESS) - half))
    w = np.where(inner, w, 0.0)
    for _ in range(_STEPS):
        over = np.where(near_zero, erf_difference(np.zeros_like(w), w) - size, rest - _kernels.erfc(w))
        w = w - np.where(inner, over, 0.0) / _slope_of_erf(w)
    return np.where(inner | (size == 0.0), w, np.where(rest == 0.0, np.inf, np.nan))


def _plain(z: Reals) -> Reals:
    """Returns the inverse: infinite at -1 and 1, and NaN beyond."""
    size = np.abs(np.asarray(z, np.float64))
    return np.asarray(np.copysign(_inverse(size, 1.0 - size), z))


def erfinv(z: Reals) -> Reals:
    """Returns the inverse of the error function: SciPy's, if the user has imported it."""
    found = sys.modules.get("scipy.special")
    return np.asarray((getattr(found, "erfinv", None) or _plain)(z))


def erfinv_difference(z: Reals, d: Reals) -> Reals:
    """Returns the exact difference e: with w, the inverse at z, it solves erf(w + e) - erf(w) = d.

    Where d is not small beside the distance to -1 or 1, the inverse at z is subtracted from that at z + d. Next to
    these ends the error is some w^2 roundings, because w is rounded.
    """
    z, d = np.asarray(z, np.float64), np.asarray(d, np.float64)
    w, near = _plain(z), np.abs(d) < 0.5 * (1.0 - np.abs(z))
    moved, low = two_sum(z, d)
    size = np.abs(moved)
    far = np.copysign(_inverse(size, (1.0 - size) - np.copysign(1.0, moved) * low), moved) - w
    change = np.where(near, d, 0.0)
    e = change / _slope_of_erf(w)
    e = np.where(np.abs(e) * (1.0 + np.abs(w)) < _STRAIGHT, e, np.where(near, far, 0.0))
    for _ in range(_STEPS):
        e = e + (change - erf_difference(w, e)) / _slope_of_erf(w + e)
    return np.asarray(np.where(near, e, far))


PRIMITIVES = (function("erfinv", erfinv, erfinv_difference, distance=lambda z: 1.0 - np.abs(z)),)
