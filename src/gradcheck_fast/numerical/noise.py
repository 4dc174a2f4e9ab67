"""How much of a function's values is noise: rounding, iterations that stop early, tables, chance."""

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

#: Points of a difference table, and which differences are looked at.
POINTS, LOWEST_ORDER, HIGHEST_ORDER = 11, 3, 6
#: Of the lowest of these: by so much roundings of values are multiplied in it.
LARGEST_BINOMIAL = 3.0
#: Distances of the points, in sizes of the parameters: some roundings; and much less than any step of a difference.
ROUNDINGS_APART, APART = 2.0**-46, PLAIN_STEP / 16.0
#: A function that turns quickly, or a kink, may look like noise; but not as much, nor more, to a factor, on a line so
#: many times shorter: roots do, of which 8 times less is seen there.
CLOSER, STILL_THERE = 64.0, 4.0
#: And so many points farther on, where roots and kinks are not.
FARTHER = 100
#: Noise is the same in differences of all orders, to a factor; of a function, the highest are the least.
ALIKE = 8.0
#: What is more than this part of the values is the function itself, unless it is there between neighbours, too.
MOST_NOISE = 1e-4
#: Rounded values are looked for with points so far apart at most; what are some roundings apart is the same.
WIDEST, SAME = 0.1, 8.0 * EPSILON
#: How far multiples of what they are rounded to may be off, and how large they may be for that to be told.
GRID, MOST_MULTIPLES = 1e-3, 1e4
#: So many stretches, in turn of jumps and of none, tell stairs from a ramp between two levels.
STAIRS = 5


class Noise(NamedTuple):
    """An estimate of the size of a function's noise; and what its values are rounded to multiples of, 0 if nothing."""

    level: float
    quantum: float = 0.0


def noise_around(theta: NDArray[np.float64], cost: Callable[[NDArray[np.float64]], float]) -> Noise:
    """The noise of a function around `theta`, from a few values on short lines."""
    signs, size = np.random.default_rng(0).choice((-1.0, 1.0), len(theta)), np.abs(theta)
    own, direction = signs * np.where(size > 0.0, size, 1.0), signs * np.maximum(1.0, size)

    @cache
    def values(spacing: float) -> NDArray[np.float64]:
        return _along(cost, theta, spacing * direction)

    def seen(spacing: float) -> list[float]:
        # twice: of rounded values as many may lie between any two points
        return [max(pair) for pair in zip(_by_order(values(spacing)), _by_order(values(spacing / 2**0.5)), strict=True)]

    between_neighbours = max(_by_order(_along(cost, theta, ROUNDINGS_APART * own)))
    level, quantum = _rounding(values, min(APART / CLOSER, SINGLE.eps / (8.0 * max(len(theta), 1))))
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
    # of what is rounded, less is seen between points that are so close that not all of it changes from one to the next
    hardly = level <= CLOSER * max(closer) <= CLOSER * ALIKE * min(closer)
    is_there = max(closer) / STILL_THERE <= level <= STILL_THERE * max(closer)
    is_everywhere = hardly and farther / STILL_THERE <= level <= STILL_THERE * farther
    return Noise(max(level, *closer) if is_there or is_everywhere else between_neighbours)


def _along(
    cost: Callable[[NDArray[np.float64]], float], theta: NDArray[np.float64], step: NDArray[np.float64], begin: int = 0
) -> NDArray[np.float64]:
    """The values at equally distant points beside `theta`, which itself often lies on kinks and jumps: zeros, ties."""
    return np.array([cost(theta + k * step) for k in range(begin + 1, begin + POINTS + 1)])


def _by_order(values: NDArray[np.float64]) -> list[float]:
    """How much of equally distant values would be noise, by differences of several orders; 0 if one is not finite.

    Of a smooth function, high differences are noise alone: the k-th has the variance of the noise times
    binomial(2k, k). (Hamming, Introduction to Applied Numerical Analysis, 1971; Moré and Wild, Estimating computational
    noise, SIAM J. Sci. Comput. 33, 2011.)
    """
    if not np.isfinite(values).all():
        return [0.0] * (HIGHEST_ORDER - LOWEST_ORDER + 1)
    found, variance = [], 1.0
    for k in range(1, HIGHEST_ORDER + 1):
        values = np.diff(values)
        variance *= 2.0 * (2 * k - 1) / k  # binomial(2k, k)
        found.append(_norms.root_mean_square(values) / variance**0.5)
    return found[LOWEST_ORDER - 1 :]


def _rounding(values_on: Callable[[float], NDArray[np.float64]], spacing: float) -> Noise:
    """What the values are rounded to multiples of, and how much noise that makes; `values_on` gives those at points so
    far apart.

    Values that are rounded stay the same for a while, if one looks close enough, and then change by multiples. With the
    first `spacing` hardly one changes if all parameters are rounded to float32, each by itself.
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
        if jumps.sum() >= 2 and len(gaps) and not is_parabola:
            multiples = np.where(jumps, sizes / gaps.min(), 0.0)
            if multiples.max() <= MOST_MULTIPLES and (np.abs(multiples - np.round(multiples)) <= GRID).all():
                return Noise(float(gaps.min()) / NOISES, float(gaps.min()))  # no more than half of it, at both points
            if 1 + (jumps[1:] != jumps[:-1]).sum() >= STAIRS:  # several are rounded, and added up
                return Noise(float(sizes.max()), float(sizes.max()))
        if jumps.all():
            break
        spacing *= 2.0 if jumps.any() else 4.0
    return Noise(0.0)
