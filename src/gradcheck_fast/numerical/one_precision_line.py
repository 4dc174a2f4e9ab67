"""Compares differences with the mean of the given derivative between their two points.

``(f(x + h) - f(x - h)) / 2h`` is the mean of f' from x - h to x + h, whatever h is and wherever kinks are: there is no
truncation. So the steps may be large, and noise small. The mean is that of a polynomial through the given derivatives
at the nodes of Clenshaw and Curtis (Numerische Mathematik 2, 1960), each of which is a call of the user's code. How
accurate it is, every other node by itself tells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from gradcheck_fast.numerical.one_precision_fit import DEVIATIONS, Samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The number of nodes; every other one makes a rule of its own.
NODES = 9
#: The first of the terms of a series of Chebyshev that show whether what is integrated is smooth.
ROUGH = 5
#: How many differences are compared, with steps down to this part of the largest.
STEPS, DOWN_TO = 12, 0.25
#: The means over the nodes have this part of the rounding of a single derivative.
AVERAGED = 0.6
#: If that is not enough, this many differences are compared.
MORE_STEPS = 96
#: By which factor the line is made shorter, or longer, if its bar is too wide, and how often, at most.
SHORTER, TIMES, TIMES_LONGER = 2.0, 10, 5
#: A longer line is worth while if it has at most this part of the bar of the one before.
WORTH = 0.8
#: A shorter line is no better if no more than this part of the bar is there because the line is long.
ACCURATE = 0.3

#: ``sample(entries, h)`` gives the differences of some entries with their steps; h has the shape (entries, steps).
Sample: TypeAlias = Callable[["NDArray[np.intp]", "NDArray[np.float64]"], Samples]

#: ``slopes(entries, offsets)`` gives the offsets that the precision has in place of those that are wanted, and the
#: given derivative of each entry there; all of the shape (entries, nodes).
Slopes: TypeAlias = Callable[
    ["NDArray[np.intp]", "NDArray[np.float64]"], "tuple[NDArray[np.float64], NDArray[np.float64]]"
]


class Means(NamedTuple):
    """How differences differ from the means of the given derivatives; arrays of shape (entries,).

    Attributes
    ----------
    errors : ndarray of float64
        The mean of the given derivative minus the difference; NaN where it is not known.
    bars : ndarray of float64
        How far noise, rounding and the rule may have moved it.
    """

    errors: NDArray[np.float64]
    bars: NDArray[np.float64]


class Roundings(NamedTuple):
    """What rounding may do.

    Attributes
    ----------
    noise : float
        What noise is typical of the function; see `typical_noise`.
    given : ndarray of float64, shape (entries,)
        How far rounding may have moved a given derivative.
    steady : ndarray of float64, shape (entries,)
        The part of that which is the same at all nodes.
    stair : ndarray of float64, shape (entries,)
        The least change that was seen when an entry moved, and that was not zero: no stairs are higher.
    """

    noise: float
    given: NDArray[np.float64]
    steady: NDArray[np.float64]
    stair: NDArray[np.float64]

    def of(self, some: NDArray[np.intp]) -> Roundings:
        """Gives those of some entries."""
        return Roundings(self.noise, self.given[some], self.steady[some], self.stair[some])


class Wanted(NamedTuple):
    """How narrow bars are to be; arrays of shape (entries,).

    Attributes
    ----------
    enough : ndarray of float64
        Bars of this size need not be narrower.
    needed : ndarray of float64
        Bars that are wider say too little, and are made narrower if that makes them narrow enough.
    narrow : ndarray of float64
        Bars that are narrow enough to say something.
    """

    enough: NDArray[np.float64]
    needed: NDArray[np.float64]
    narrow: NDArray[np.float64]

    def of(self, some: NDArray[np.intp]) -> Wanted:
        """Gives those of some entries."""
        return Wanted(self.enough[some], self.needed[some], self.narrow[some])


class _OnLines(NamedTuple):
    """What is seen on lines: errors, their bars, and the parts of these that noise and the length of a line make."""

    errors: NDArray[np.float64]
    bars: NDArray[np.float64]
    from_noise: NDArray[np.float64]
    from_length: NDArray[np.float64]

    @property
    def bars_with_more_steps(self) -> NDArray[np.float64]:
        """What bars can be expected with `MORE_STEPS`."""
        less = np.where(np.isfinite(self.bars), self.from_noise, 0.0)
        return np.asarray(self.bars - (1.0 - np.sqrt(STEPS / MORE_STEPS)) * less)


class Line(NamedTuple):
    """How a function and the given derivatives of it are evaluated on lines; see `Sample` and `Slopes`."""

    sample: Sample
    slopes: Slopes


def compare_means(line: Line, roundings: Roundings, most: NDArray[np.float64], wanted: Wanted) -> Means:
    """Compares the differences of some entries with means of the given derivatives.

    Parameters
    ----------
    line : Line
    roundings : Roundings
    most : ndarray of float64, shape (entries,)
        Half of the length of the first lines. They are made longer while what is seen is noise alone, else shorter.
    wanted : Wanted
    """
    expected, lengths = np.full(len(most), np.inf), most.copy()
    found = Means(np.full(len(most), np.nan), np.full(len(most), np.inf))

    def improve(some: NDArray[np.intp], length: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Tries lines. Returns which of the entries may do better with longer ones, and which with shorter ones."""
        seen = _on_lines(line, some, length, roundings.of(some))
        bars, from_length = seen.bars, seen.from_length
        better, much_better = bars < found.bars[some], bars < WORTH * found.bars[some]
        found.errors[some[better]], found.bars[some[better]] = seen.errors[better], bars[better]
        bars_with_more = seen.bars_with_more_steps
        best = bars_with_more < expected[some]
        expected[some[best]], lengths[some[best]] = bars_with_more[best], length[best]
        known, is_wide = np.isfinite(bars), found.bars[some] > wanted.enough[some]
        accurate = from_length <= ACCURATE * bars
        shorter = np.where(known, better | ~accurate, np.isinf(found.bars[some]))
        return is_wide & known & much_better & accurate, is_wide & shorter

    every = np.arange(len(most))
    longer, shorter = improve(every, most)
    shorter &= ~longer
    some, length = every[longer], most
    for _ in range(TIMES_LONGER):
        if not len(some):
            break
        length = length * SHORTER
        longer, _ = improve(some, length[some])
        some = some[longer]
    some, length = every[shorter], most
    for _ in range(TIMES):
        if not len(some):
            break
        length = length / SHORTER
        _, shorter = improve(some, length[some])
        some = some[shorter]
    some = np.flatnonzero((found.bars > wanted.needed) & (expected <= wanted.narrow))
    if len(some):
        seen = _on_lines(line, some, lengths[some], roundings.of(some), MORE_STEPS)
        better = seen.bars < found.bars[some]
        found.errors[some[better]], found.bars[some[better]] = seen.errors[better], seen.bars[better]
    return found


def _on_lines(
    line: Line, entries: NDArray[np.intp], length: NDArray[np.float64], roundings: Roundings, steps: int = STEPS
) -> _OnLines:
    """Compares on lines of some lengths, with so many differences."""
    samples = line.sample(entries, length[:, None] * np.linspace(DOWN_TO, 1.0, steps))
    nodes = np.cos(np.pi * np.arange(NODES) / (NODES - 1))
    offsets, given = line.slopes(entries, length[:, None] * nodes)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        used = np.isfinite(samples.h) & np.isfinite(samples.odd)
        part = np.where(used, samples.h / length[:, None], 0.0)
        places = offsets / length[:, None]
        fine, coarse = (_means(places[:, ::k], given[:, ::k], part) for k in (1, 2))
        weight = np.where(used, samples.h**2, 0.0)
        off = np.where(used, fine - 0.5 * samples.odd / samples.h, 0.0)
        total = weight.sum(axis=1)
        errors = (weight * off).sum(axis=1) / total
        freedom = np.maximum(used.sum(axis=1) - 1, 1)
        measured = (weight * (off - errors[:, None]) ** 2).sum(axis=1) * 2.0 / freedom
        floor = roundings.noise * np.max(np.where(used, samples.floor, 0.0), axis=1)
        # where nothing changes, all of the line may lie on one stair
        changes = (used & ((samples.odd != 0.0) | (samples.even != 0.0))).any(axis=1)
        floor = np.where(changes, floor, np.maximum(floor, roundings.stair))
        sigma = np.sqrt(np.maximum(measured, floor**2))
        # on the same stair, rounding is the same: equal differences are one measurement
        different = 1 + (np.diff(np.sort(np.where(used, samples.odd, np.inf), axis=1), axis=1) > 0.0).sum(axis=1)
        total = total * np.minimum(different / np.maximum(used.sum(axis=1), 1), 1.0)
        rule = np.abs((weight * (fine - coarse)).sum(axis=1) / weight.sum(axis=1)) + _roughness(given)
        from_noise = DEVIATIONS * sigma / np.sqrt(2.0 * total)
        bars = from_noise + AVERAGED * (roundings.given - roundings.steady) + roundings.steady + rule
        from_length = rule + DEVIATIONS * (sigma - floor) / np.sqrt(2.0 * total)
    known = np.isfinite(errors) & np.isfinite(bars)
    unknown = (np.where(known, array, np.inf) for array in (bars, from_noise, from_length))
    return _OnLines(np.where(known, errors, np.nan), *unknown)


def _roughness(given: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gives how large the highest terms are of the series of Chebyshev through the given numbers.

    They vanish where these are smooth. Where they jump, as at a kink of the function, the rule is off by about as much.
    """
    k = np.arange(NODES)
    terms = np.cos(np.pi * np.outer(k[ROUGH:], k) / (NODES - 1)) * (2.0 / (NODES - 1))
    terms[:, [0, -1]] *= 0.5
    terms[-1] *= 0.5
    return np.asarray(0.5 * np.abs(given @ terms.T).sum(axis=1))


def _means(places: NDArray[np.float64], given: NDArray[np.float64], part: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gives the means from -part to part of polynomials through the given numbers at some places in [-1, 1]."""
    count = places.shape[1]
    powers = places[:, :, None] ** np.arange(count)
    known = np.isfinite(powers).all(axis=(1, 2)) & np.isfinite(given).all(axis=1)
    distinct = (np.abs(np.diff(places, axis=1)) > 0.0).all(axis=1)
    fits = np.asarray(known & distinct)
    powers = np.where(fits[:, None, None], powers, np.eye(count))
    coefficients = np.linalg.solve(powers, np.where(fits[:, None], given, np.nan)[:, :, None])[:, :, 0]
    even = np.arange(0, count, 2)
    return np.asarray(np.sum(coefficients[:, None, even] * part[:, :, None] ** even / (even + 1.0), axis=2))
