"""Estimates how much of a function's values is noise: of rounding, iterations that stop early, tables, or chance."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.inputs import _norms
from gradcheck_fast.inputs.arrays import SINGLE
from gradcheck_fast.numerical.gradient import EPSILON, PLAIN_STEP
from gradcheck_fast.numerical.step_ladder import NOISES

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: How many points of a line a difference table is made of.
POINTS = 11
#: The lowest order of the differences that are looked at: lower ones show the function itself.
LOWEST_ORDER = 3
#: The highest order of the differences that are looked at: higher ones would be made of too few points.
HIGHEST_ORDER = 6
#: The largest binomial coefficient in a difference of the lowest order: it multiplies the rounding of a value.
LARGEST_BINOMIAL = 3.0
#: The distance of neighbouring points, in sizes of the parameters: a few dozen roundings, over which only noise
#: changes.
ROUNDINGS_APART = 2.0**-46
#: The distance of the points of a line, in sizes of the parameters: much less than any step of a difference.
APART = PLAIN_STEP / 16.0
#: How many times shorter a second line is. A function that turns quickly, or a kink, may look like noise on the first
#: line, but not on one as short as that.
CLOSER = 64.0
#: What is noise has the same size on the second line, to this factor. Of a root at the parameters, √64 = 8 times less
#: is seen there.
STILL_THERE = 4.0
#: How many points farther on a third line begins, where roots and kinks at the parameters are not seen.
FARTHER = 100
#: Noise has the same size in differences of all orders, to this factor. A function shows least in the highest orders.
ALIKE = 8.0
#: What is more than this part of the values is taken for the function itself, unless it is there between neighbouring
#: points as well.
MOST_NOISE = 1e-4
#: The largest distance of points, in sizes of the parameters, at which rounded values are looked for.
WIDEST = 0.1
#: Two values are the same if they differ by less than this part of them, some roundings.
SAME = 8.0 * EPSILON
#: How many points apart, on the average, one parameter of all changes at the first distance at which rounded values are
#: looked for, if the parameters are rounded to float32, each by itself.
FEW_CHANGES = 8.0
#: By which factor the distance is made larger if some of the values change from one point to the next.
WIDER = 2.0
#: By which factor the distance is made larger if none of the values change.
MUCH_WIDER = 4.0
#: How many values must have jumped for their steps to be compared.
FEWEST_JUMPS = 2
#: How far from whole numbers the jumps of rounded values may be, in units of what they are rounded to.
GRID = 1e-3
#: How large the jumps may be, in these units: of larger ones it cannot be told whether they are whole numbers.
MOST_MULTIPLES = 1e4
#: How many stretches, in turn of jumps and of none, tell stairs from a ramp between two levels.
STAIRS = 5


class Noise(NamedTuple):
    """The noise of a function.

    Attributes
    ----------
    level : float
        An estimate of its size, in units of the function's values.
    quantum : float
        What the values are rounded to multiples of; 0 if they are not.
    """

    level: float
    quantum: float = 0.0


def noise_around(
    theta: NDArray[np.float64], cost: Callable[[NDArray[np.float64]], float],
    along: Callable[[NDArray[np.float64], float], NDArray[np.float64]] = lambda direction, reach: direction,
) -> Noise:  # fmt: skip
    """Estimates the noise of a function around `theta`, from a few values on short lines.

    Parameters
    ----------
    theta : ndarray of float64, shape (size,)
    cost : callable
        Gives the value at a flat vector; NaN where it is not defined.
    along : callable
        ``along(direction, reach)`` gives a direction like the given one that may be gone so many times.
    """
    signs, size = np.random.default_rng(0).choice((-1.0, 1.0), len(theta)), np.abs(theta)
    own = along(signs * np.where(size > 0.0, size, 1.0), ROUNDINGS_APART * POINTS)
    direction = along(signs * np.maximum(1.0, size), APART * (FARTHER + POINTS))

    @cache
    def values(spacing: float) -> NDArray[np.float64]:
        return _along(cost, theta, spacing * direction)

    def seen(spacing: float) -> list[float]:
        # At two distances, whose ratio is irrational: rounded values may by chance all jump, or none, with one of them.
        return [max(pair) for pair in zip(_by_order(values(spacing)), _by_order(values(spacing / 2**0.5)), strict=True)]

    between_neighbours = max(_by_order(_along(cost, theta, ROUNDINGS_APART * own)))
    level, quantum = _rounding(values, min(APART / CLOSER, SINGLE.eps / (FEW_CHANGES * max(len(theta), 1))))
    if quantum:
        return Noise(max(level, between_neighbours), quantum)
    orders = seen(APART)
    level = max(orders)
    if level <= STILL_THERE * between_neighbours:
        return Noise(max(level, between_neighbours))
    if level > ALIKE * min(orders) or level > MOST_NOISE * np.abs(values(APART)).max():
        return Noise(between_neighbours)
    closer = seen(APART / CLOSER)
    farther = max(_by_order(_along(cost, theta, APART * direction, FARTHER)))
    # less is seen of rounding between points that are so close that not all that is rounded changes between them
    hardly = level <= CLOSER * max(closer) <= CLOSER * ALIKE * min(closer)
    is_there = max(closer) / STILL_THERE <= level <= STILL_THERE * max(closer)
    is_everywhere = hardly and farther / STILL_THERE <= level <= STILL_THERE * farther
    return Noise(max(level, *closer) if is_there or is_everywhere else between_neighbours)


def _along(
    cost: Callable[[NDArray[np.float64]], float], theta: NDArray[np.float64], step: NDArray[np.float64], begin: int = 0
) -> NDArray[np.float64]:
    """Returns the values at equally distant points beside `theta`, which itself often lies on kinks and jumps."""
    return np.array([cost(theta + k * step) for k in range(begin + 1, begin + POINTS + 1)])


def _by_order(values: NDArray[np.float64]) -> list[float]:
    """Estimates the noise of values at equally distant points, once for each order of differences.

    High differences of a smooth function are noise alone: the k-th has the variance of the noise times binomial(2k, k).
    (Hamming, Introduction to Applied Numerical Analysis, 1971; Moré and Wild, Estimating computational noise, SIAM J.
    Sci. Comput. 33, 2011.) The estimates are 0 if a value is not finite.
    """
    if not np.isfinite(values).all():
        return [0.0] * (HIGHEST_ORDER - LOWEST_ORDER + 1)
    found, variance = [], 1.0
    for k in range(1, HIGHEST_ORDER + 1):
        values = np.diff(values)
        variance *= 2.0 * (2 * k - 1) / k  # binomial(2k, k)
        found.append(_norms.root_mean_square(values) / variance**0.5)
    return found[LOWEST_ORDER - 1 :]


def scatter(values: NDArray[np.float64]) -> float:
    """Estimates the noise of values at equally distant points of a line; 0 if one is not finite.

    Parameters
    ----------
    values : ndarray of float64, shape (points,)
        At least `HIGHEST_ORDER` + 1.
    """
    return max(_by_order(values))


def _rounding(values_on: Callable[[float], NDArray[np.float64]], spacing: float) -> Noise:
    """Finds out what the values are rounded to multiples of, and how much noise that makes.

    Values that are rounded stay the same for a while, if one looks closely enough, and then change by multiples.

    Parameters
    ----------
    values_on : callable
        Gives the values at points that have a given distance.
    spacing : float
        The first distance. It is made larger until all values change.
    """
    while spacing < WIDEST:
        values = values_on(spacing)
        if not np.isfinite(values).all():
            break
        sizes = np.abs(np.diff(values))
        same = SAME * np.maximum(np.abs(values[1:]), np.abs(values[:-1]))
        jumps = sizes > same
        gaps = np.diff(np.sort(np.where(jumps, sizes, 0.0)))
        gaps = gaps[gaps > same.max()]
        is_parabola = (np.abs(np.diff(values, LOWEST_ORDER)) <= LARGEST_BINOMIAL * same.max()).all()
        if jumps.sum() >= FEWEST_JUMPS and len(gaps) and not is_parabola:
            multiples = np.where(jumps, sizes / gaps.min(), 0.0)
            if multiples.max() <= MOST_MULTIPLES and (np.abs(multiples - np.round(multiples)) <= GRID).all():
                return Noise(float(gaps.min()) / NOISES, float(gaps.min()))  # half of it at either point
            if 1 + (jumps[1:] != jumps[:-1]).sum() >= STAIRS:  # several are rounded, and added up
                return Noise(float(sizes.max()), float(sizes.max()))
        if jumps.all():
            break
        spacing *= WIDER if jumps.any() else MUCH_WIDER
    return Noise(0.0)
