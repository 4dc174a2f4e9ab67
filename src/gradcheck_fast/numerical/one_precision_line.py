"""Compares differences with the mean of the given derivative between their two points.

``(f(x + h) - f(x - h)) / 2h`` is the mean of f' from x - h to x + h, whatever h is and wherever kinks are: there is no
truncation. So the steps may be large, and noise small. The mean is that of a polynomial through the given derivatives
at the nodes of Clenshaw and Curtis (Numerische Mathematik 2, 1960), each of which is a call of the user's code. How
accurate it is, every other node by itself tells.

The lines may also lie to one side of an entry. Then points are x + side L + h and x + side L - h, with half of the
length of the line, L.
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
#: They help if at least this part of the steps has roundings of its own.
FRESH = 0.7
#: A line is not too long if no more than this part of the bar is there because it is long.
ACCURATE = 0.3
#: Derivatives at an entry and beside it are alike if neither is more than so many times the other.
ALIKE = 8.0

#: ``sample(entries, h, centre)`` gives the differences of some entries with their steps; h has the shape (entries,
#: steps). Points lie around those that are as far from the entries as `centre` says, of shape (entries,).
Sample: TypeAlias = Callable[["NDArray[np.intp]", "NDArray[np.float64]", "NDArray[np.float64]"], Samples]

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
    lengths : ndarray of float64
        Half of the length of the line on which that was seen.
    """

    errors: NDArray[np.float64]
    bars: NDArray[np.float64]
    lengths: NDArray[np.float64]

    @classmethod
    def unknown(cls, count: int) -> Means:
        """Nothing is known of so many entries."""
        return cls(np.full(count, np.nan), np.full(count, np.inf), np.full(count, np.nan))

    def take(self, some: NDArray[np.intp], other: Means, which: NDArray[np.bool_]) -> None:
        """Takes over what others say of some entries, where that is wanted."""
        for array, new in zip(self, other, strict=True):
            array[some[which]] = new[which]


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


class Line(NamedTuple):
    """How a function and the given derivatives of it are evaluated on lines; see `Sample` and `Slopes`."""

    sample: Sample
    slopes: Slopes

    def of(self, some: NDArray[np.intp]) -> Line:
        """Gives those of some entries."""
        return Line(
            lambda which, h, centre: self.sample(some[which], h, centre),
            lambda which, offsets: self.slopes(some[which], offsets),
        )


class OnLines(NamedTuple):
    """What is seen on lines; arrays of shape (entries,).

    Attributes
    ----------
    errors : ndarray of float64
        As in `Means`.
    noise, least_noise, noise_with_more_steps : ndarray of float64
        How far noise may have moved them: as measured, what rounding makes at least, and what can be expected with
        `MORE_STEPS`.
    in_common : ndarray of float64
        How far a rounding that all differences have in common may have moved them.
    rounding : ndarray of float64
        How far they may have been moved by what is rounded differently at each node. That and noise are independent.
    steady : ndarray of float64
        The same, by rounding that is the same at all nodes.
    rule : ndarray of float64
        How far the rule may be off.
    lengths : ndarray of float64
        As in `Means`.
    slopes : ndarray of float64
        The means of the given derivatives on the lines.
    """

    errors: NDArray[np.float64]
    noise: NDArray[np.float64]
    least_noise: NDArray[np.float64]
    noise_with_more_steps: NDArray[np.float64]
    in_common: NDArray[np.float64]
    rounding: NDArray[np.float64]
    steady: NDArray[np.float64]
    rule: NDArray[np.float64]
    lengths: NDArray[np.float64]
    slopes: NDArray[np.float64]

    @property
    def means(self) -> Means:
        """The same, in short."""
        return Means(self.errors, self.bars, self.lengths)

    @property
    def bars(self) -> NDArray[np.float64]:
        """How far errors may have been moved; infinite where they are not known."""
        return self._bars(self.noise, self.in_common + self.rule)

    @property
    def bars_with_more_steps(self) -> NDArray[np.float64]:
        """What bars can be expected with `MORE_STEPS`."""
        return self._bars(self.noise_with_more_steps, self.in_common + self.rule)

    @property
    def bars_if_smooth(self) -> NDArray[np.float64]:
        """What bars would be if there were nothing but noise and roundings of the given derivatives."""
        return self._bars(self.least_noise, 0.0 * self.rule)

    @property
    def are_smooth(self) -> NDArray[np.bool_]:
        """Whether no more than a part of the bars is there because lines are long."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.rule + self.noise - self.least_noise <= ACCURATE * self.bars)

    @property
    def are_accurate(self) -> NDArray[np.bool_]:
        """Whether no more than that is there because lines are long, or differences have something in common."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.rule + self.noise - self.least_noise + self.in_common <= ACCURATE * self.bars)

    def at_end(self, given: NDArray[np.float64], side: int) -> OnLines:
        """Says what that is at the entries, which lie at the end of lines to one side.

        What is wrong by a part of a derivative is taken to be wrong by the same part all along a line.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            part = given[:, -1 if side > 0 else 0] / self.slopes
        part = np.where((part >= 1.0 / ALIKE) & (part <= ALIKE), part, np.nan)
        in_part = ("errors", "noise", "least_noise", "noise_with_more_steps", "in_common", "rule")
        return self._replace(**{name: part * getattr(self, name) for name in in_part})

    def _bars(self, noise: NDArray[np.float64], more: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore"):
            bars = np.hypot(noise, self.rounding) + self.steady + more
        return np.asarray(np.where(np.isfinite(self.errors) & np.isfinite(bars), bars, np.inf))


def on_lines(
    line: Line, entries: NDArray[np.intp], length: NDArray[np.float64], roundings: Roundings, side: int, steps: int
) -> OnLines:
    """Compares on lines of some lengths around or beside the entries.

    Parameters
    ----------
    line : Line
    entries : ndarray of int, shape (entries,)
    length : ndarray of float64, shape (entries,)
        Half of the length of each line.
    roundings : Roundings
    side : int
        0 for lines around the entries, 1 and -1 for those to one side.
    steps : int
        How many differences are compared: `STEPS` or `MORE_STEPS`.
    """
    offsets, given = line.slopes(entries, length[:, None] * (side + _nodes()))
    centre = offsets[:, NODES // 2]
    samples = line.sample(entries, length[:, None] * np.linspace(DOWN_TO, 1.0, steps), centre)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        used = np.isfinite(samples.h) & np.isfinite(samples.odd)
        part = np.where(used, samples.h / length[:, None], 0.0)
        places = (offsets - centre[:, None]) / length[:, None]
        fine, coarse = (_means(places[:, ::k], given[:, ::k], part) for k in (1, 2))
        weight = np.where(used, samples.h**2, 0.0)
        off = np.where(used, fine - 0.5 * samples.odd / samples.h, 0.0)
        total = weight.sum(axis=1)
        errors = (weight * off).sum(axis=1) / total
        count = np.maximum(used.sum(axis=1), 1)
        measured = (weight * (off - errors[:, None]) ** 2).sum(axis=1) * 2.0 / np.maximum(count - 1, 1)
        floor = roundings.noise * np.max(np.where(used, samples.floor, 0.0), axis=1)
        # where nothing changes, all of the line may lie on one stair
        changes = (used & ((samples.odd != 0.0) | (samples.even != 0.0))).any(axis=1)
        floor = np.where(changes, floor, np.maximum(floor, roundings.stair))
        independent = np.max(np.where(used, samples.independent, 1.0), axis=1)
        scale = DEVIATIONS / np.sqrt(2.0 * total * np.fmin(independent / count, 1.0))
        noise, least_noise = scale * np.sqrt(np.maximum(measured, floor**2)), scale * floor
        with_more_steps = noise * np.where(independent > FRESH * count, np.sqrt(STEPS / MORE_STEPS), 1.0)
        rule = np.abs((weight * (fine - coarse)).sum(axis=1) / total) + _roughness(given)
        in_common = _in_common(np.where(used, samples.h, 0.0), off, errors)
    rounding = AVERAGED * (roundings.given - roundings.steady)
    steady, slopes = roundings.steady, _mean(given)
    seen = OnLines(errors, noise, least_noise, with_more_steps, in_common, rounding, steady, rule, length, slopes)
    return seen.at_end(given, side) if side else seen


def roughness(line: Line, entries: NDArray[np.intp], length: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gives by how much the given derivatives fail to be smooth on lines around some entries, of half of a length."""
    return _roughness(line.slopes(entries, length[:, None] * _nodes())[1])


def _in_common(h: NDArray[np.float64], off: NDArray[np.float64], errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gives what errors change by if a constant is fitted, too: a rounding that all differences have in common.

    Steps are 0 where they are missing.
    """
    around = np.where(h > 0.0, h - (h.sum(axis=1) / (h > 0.0).sum(axis=1))[:, None], 0.0)
    return np.asarray(np.abs((around * off * h).sum(axis=1) / (around * h).sum(axis=1) - errors))


def _nodes() -> NDArray[np.float64]:
    """Gives the nodes of Clenshaw and Curtis on [-1, 1], from the last one back."""
    return np.asarray(np.cos(np.pi * np.arange(NODES) / (NODES - 1)))


def _mean(given: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gives the means of the given numbers, from all nodes."""
    return _means(np.broadcast_to(_nodes(), given.shape), given, np.ones((len(given), 1)))[:, 0]


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
