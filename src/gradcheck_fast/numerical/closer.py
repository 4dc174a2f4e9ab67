"""Looks more closely at entries that seem wrong: for kinks nearer than the first steps, and for ties at the parameters.

First each entry is moved by ever smaller steps, as long as noise allows. If the slopes to both sides become one, there
are kinks close by, but none at the parameters, and that slope is the derivative. Otherwise several values may lie on
kinks at once (those of units that get nothing but zeros, or of biases of zero). What back-propagation takes at each of
them may lie between the two slopes along this one parameter, or beside them. So the slope is also found at points close
by, where all parameters are moved and the ties are broken in other ways. What lies between all these slopes is right:
they span the projection of Clarke's generalised gradient (Clarke, Optimization and Nonsmooth Analysis, 1983, theorem
2.5.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.numerical.gradient import EPSILON, Closer
from gradcheck_fast.numerical.step_ladder import NOISES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.numerical.point import Point

#: How many steps are tried, the first among them. The last is about 3e8 times smaller than the first.
LEVELS = 15
#: How many times smaller each step is than the one before.
RATIO = 4.0
#: Two slopes are the same if they differ by no more than this many times their noise.
ALIKE = 2.0
#: Noise is small enough to show a difference of slopes, or that it is gone, if it is no more than this part of it.
CLEAR = 0.25
#: The slopes stay different if they differ by more than this part of what they differed by with the step before: where
#: a function bends, that becomes `RATIO` times smaller.
STAYS = 0.5
#: At how many points beside the parameters slopes are found: each breaks the ties in its own way.
BESIDE = 16
#: How far these points are from the parameters, in steps: so far that a step seldom crosses a kink there.
APART = 32.0
#: Several values are tied if the slopes beside the parameters span more than those at them, by more than this part.
TIED = 0.01


def look_closer(
    point: Point, entries: NDArray[np.intp], h: NDArray[np.float64], noise: float, given: NDArray[np.float64]
) -> Closer:
    """Looks at entries that seem wrong.

    Parameters
    ----------
    point : Point
        The function and the parameters.
    entries : ndarray of int, shape (size,)
        The numbers of the entries.
    h : ndarray of float64, shape (size,)
        The first step of each, which is the largest.
    noise : float
        The size of the noise of the function's values.
    given : ndarray of float64, shape (size,)
        The derivatives of the gradient that is checked.
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
    """Finds the slopes to both sides with ever smaller steps, until they are one, or until only noise changes.

    Returns
    -------
    slopes : ndarray of float64, shape (2, size)
        With the largest step at which the two are one; if there is none, with the best one that was tried.
    error : ndarray of float64, shape (size,)
        How far noise may move them.
    step : ndarray of float64, shape (size,)
        The step with which they were found.
    stays : ndarray of bool, shape (size,)
        Whether they stay different. They do at a kink; where a function bends they come closer to each other.
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
    """Finds the slope of one entry at `BESIDE` points, to which all parameters are moved by some steps."""
    random, size = np.random.default_rng(0), np.maximum(1.0, np.abs(point.theta))
    found = np.full(BESIDE, np.nan)
    for k in range(BESIDE):
        theta = point.inside(point.theta + APART * step * size * random.standard_normal(len(size)))
        values = []
        for sign in (1.0, -1.0):
            moved = theta.copy()
            moved[entry] += sign * step
            values.append(point.cost_beside(moved))
        found[k] = (values[0] - values[1]) / (2.0 * step)
    return found
