"""A closer look at entries that seem wrong: kinks closer to the parameters than the first steps, and ties at them.

First each entry is moved by ever smaller steps, as long as noise allows. If the slopes to both sides become one, there
are kinks close by, but none at the parameters, and that slope is the derivative. Else several values may lie on kinks
at once (units that get nothing but zeros, biases of zero), and what back-propagation takes at each of them is in
between, or beside, the slopes along this one parameter. So the slope is found at points close by, too, where all
parameters are moved and ties are broken in other ways: what lies between all these slopes is right. (They span the
projection of Clarke's generalised gradient: Clarke, Optimization and Nonsmooth Analysis, 1983, theorem 2.5.1.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.numerical.gradient import EPSILON, Closer
from gradcheck_fast.numerical.step_ladder import NOISES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.numerical.point import Point

#: How many smaller steps are tried, and how many times smaller each is.
LEVELS, RATIO = 15, 4.0
#: Two slopes are one if they differ by less than this many times their noise, which must be less than this part of what
#: they differed by with the step before.
ALIKE, CLEAR = 2.0, 0.25
#: What they differ by stays if it is more than this part of what it was with the step before.
STAYS = 0.5
#: At how many points beside the parameters slopes are looked at, and how far they are, in steps.
BESIDE, APART = 16, 32.0
#: Several values are tied if slopes beside the parameters reach over those at them by this part.
TIED = 0.01


def look_closer(
    point: Point, entries: NDArray[np.intp], h: NDArray[np.float64], noise: float, given: NDArray[np.float64]
) -> Closer:
    """Looks at entries that seem wrong.

    Parameters
    ----------
    point : Point
    entries : ndarray of int, shape (size,)
    h : ndarray, shape (size,)
        The largest step of each.
    noise : float
        Of the function's values.
    given : ndarray, shape (size,)
        What is said to be the derivatives.
    """
    slopes, error, step, stays = _nearest(point, entries, h, noise)
    with np.errstate(invalid="ignore"):
        middle, jump, smooth = slopes.mean(axis=0), np.abs(slopes[1] - slopes[0]), ~stays
        low, high = slopes.min(axis=0) - error, slopes.max(axis=0) + error
        tied = np.flatnonzero(~smooth & ~((low <= given) & (given <= high)) & np.isfinite(jump))
    for k in tied.tolist():
        found, one = _beside(point, int(entries[k]), float(step[k])), high[k] - low[k]
        low[k], high[k] = (
            np.fmin(np.fmin.reduce(found) - error[k], low[k]),
            np.fmax(np.fmax.reduce(found) + error[k], high[k]),
        )
        several, beyond = high[k] - low[k], max(low[k] - given[k], given[k] - high[k])
        if several > (1.0 + TIED) * one and 0.0 < beyond < several:
            low[k], high[k] = -np.inf, np.inf
    return Closer(
        middle,
        np.where(smooth, jump + error, error),
        np.where(smooth, 0.0, low - middle),
        np.where(smooth, 0.0, high - middle),
    )


def _nearest(
    point: Point, entries: NDArray[np.intp], h: NDArray[np.float64], noise: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """The slopes to both sides, shape (2, size), their error, the step that they were found with, and where they stay.

    With the largest step at which the two are one; else with one from which on nothing changes but noise. They stay
    different at a kink; where a function bends they come closer.
    """
    slopes, error, step = np.full((2, len(h)), np.nan), np.full(len(h), np.inf), h.copy()
    stays, before = np.zeros(len(h), np.bool_), np.full(len(h), np.inf)
    theta, left = point.theta[entries], np.arange(len(h))
    for level in range(LEVELS):
        points = np.stack([theta[left] + h[left] / RATIO**level, theta[left] - h[left] / RATIO**level])
        values = point.moved(entries[left], points)
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            distance = points - theta[left]
            found = (values - point.value) / distance
            found = np.where(np.isfinite(found), found, found[::-1])  # defined on one side only
            rounded = NOISES * (noise + EPSILON * np.fmax(np.abs(values).max(axis=0), abs(point.value)))
            own_error, jump = rounded / np.abs(distance).min(axis=0), np.abs(found[0] - found[1])
            one = ~(jump > ALIKE * own_error)
            moved = np.abs(found - slopes[:, left]).max(axis=0)
            same = (own_error <= CLEAR * jump) & (moved <= ALIKE * (own_error + error[left]))
            better = np.isfinite(jump) & ~same & (~one | (own_error <= CLEAR * before[left]))
        some = left[better]
        stays[left] = np.where(same, True, np.where(better, ~one & (jump > STAYS * before[left]), stays[left]))
        slopes[:, some], error[some], step[some] = found[:, better], own_error[better], np.abs(distance[0, better])
        before[some] = jump[better]
        left = left[better & ~one]
        if not len(left):
            break
    return slopes, error, step, stays


def _beside(point: Point, entry: int, step: float) -> NDArray[np.float64]:
    """The slopes of one entry at points where all parameters are moved by some steps."""
    random, size = np.random.default_rng(0), np.maximum(1.0, np.abs(point.theta))
    found = np.full(BESIDE, np.nan)
    for k in range(BESIDE):
        theta = point.theta + APART * step * size * random.standard_normal(len(size))
        values = []
        for sign in (1.0, -1.0):
            moved = theta.copy()
            moved[entry] += sign * step
            values.append(point.cost_beside(moved))
        found[k] = (values[0] - values[1]) / (2.0 * step)
    return found
