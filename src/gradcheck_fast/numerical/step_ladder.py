"""Chooses the step of each entry in plain arithmetic: a small step loses digits to noise, a large one to truncation.

Central differences are found with a ladder of steps, which have a constant ratio. Truncation, of the order of h², shows
as the change from one step to the next; noise, of the order of 1/h, is known. From the first step, ∛ε max(1, |p|),
steps grow as long as only noise is seen, or shrink until no truncation is seen. A step of ∛ε |p| has the last word.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from gradcheck_fast.inputs import _norms
from gradcheck_fast.numerical.gradient import EPSILON, LARGEST_STEP, PLAIN_STEP, SMALLEST_STEP, Refined

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: How many times what changes to the next larger step is added to an error bar: that change is truncation, nearly all
#: of it of the larger step.
CHANGES = 1.5
#: How many times the noise of the values the noise of their difference may be.
NOISES = 4.0
#: An error bar of this part of an entry is narrow enough: no other step is tried.
PRECISE = 1e-9
#: From one step to the next smaller one, differences that converge change by less than this part of the change before.
CONVERGING = 0.5
#: A difference whose error bar is more than this part of it has not converged.
WIDE = 1e-3

#: Gives, for some entries and steps h, E(p + h), E(p - h) and the distance of the two points: three rows.
Pairs: TypeAlias = Callable[["NDArray[np.intp]", "NDArray[np.float64]"], "NDArray[np.float64]"]


class Ladder(NamedTuple):
    """The steps that are tried.

    Attributes
    ----------
    ratio : float
        The ratio of each step to the next smaller one. It is not a whole number: with a step and with a multiple of it,
        differences of a periodic function may be the same.
    larger : int
        How many steps larger than the first are tried, at most.
    smaller : int
        How many smaller steps are tried, at most.
    """

    ratio: float
    larger: int
    smaller: int


#: The ladder for error bars: from 3e4 times the first step down to 6e-9 times it.
THOROUGH = Ladder(4.3, 7, 13)
#: The ladder for a gradient alone, which looks for less truncation, but not for less noise.
QUICK = Ladder(40.3, 0, 4)


class Level(NamedTuple):
    """Central differences with one step for each entry.

    Attributes
    ----------
    differences : ndarray of float64, shape (size,)
    noise : ndarray of float64, shape (size,)
        How far noise and rounding of the values may move each of them.
    """

    differences: NDArray[np.float64]
    noise: NDArray[np.float64]

    @classmethod
    def of(cls, pairs: NDArray[np.float64], theta: NDArray[np.float64], noise: NDArray[np.float64] | float) -> Level:
        """Finds the differences and their noise from what `Pairs` gives at the parameters `theta`.

        The values have the given noise, and roundings. A function may also round its arguments, which is as if the
        parameters were elsewhere; that moves the values by a rounding of the parameter times the difference.
        """
        plus, minus, width = pairs
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            differences = np.where(width > 0.0, (plus - minus) / width, 0.0)  # 0: a step that is lost is all noise
            rounded = np.maximum(np.maximum(np.abs(plus), np.abs(minus)), np.abs(theta * differences))
            return cls(differences, NOISES * (noise + EPSILON * rounded) / width)

    def some(self, which: NDArray[Any]) -> Level:
        """Picks some of the entries."""
        return Level(self.differences[which], self.noise[which])


class Start(NamedTuple):
    """What is known of some entries before other steps are tried; arrays of shape (size,).

    Attributes
    ----------
    theta, h : ndarray
        The parameters, and the first step of each.
    first : Level
        What was found with it.
    scale : ndarray
        The size of what each is to be compared with: bars of a small part of it are narrow enough.
    noise : ndarray or float
        Of the values; see `Level.of`.
    """

    theta: NDArray[np.float64]
    h: NDArray[np.float64]
    first: Level
    scale: NDArray[np.float64]
    noise: NDArray[np.float64] | float


def refine(
    pairs: Pairs, entries: NDArray[np.intp], start: Start, ladder: Ladder, enough: NDArray[np.float64] | float = 0.0
) -> Refined:
    """Finds for each entry the step of the least error.

    A function may change over the size of a parameter, however small that is. Larger steps pass over what it does
    there, and agree with each other. So a step in proportion to the parameter has the last word.

    Parameters
    ----------
    pairs : callable
        Evaluates the function; see `Pairs`.
    entries : ndarray of int, shape (size,)
        The numbers of the entries.
    start : Start
    ladder : Ladder
        The steps.
    enough : float or ndarray of float64, shape (size,)
        Error bars of this size need not be narrower.

    Returns
    -------
    Refined
    """
    theta, h, first, scale, _ = start
    wanted, noise = np.broadcast_to(enough, len(entries)), np.broadcast_to(start.noise, len(entries))

    def climb(some: NDArray[np.intp], h: NDArray[np.float64], first: Level) -> Refined:
        at = lambda which, h: Level.of(pairs(entries[some[which]], h), theta[some[which]], noise[some[which]])
        return _climb(at, h, first, scale[some], wanted[some], ladder)

    best = climb(np.arange(len(entries)), h, first)
    own, size = PLAIN_STEP * np.abs(theta), np.fmax(np.abs(best.derivatives), scale)
    some = np.flatnonzero((own > SMALLEST_STEP) & (own < h / ladder.ratio))
    seen = Level.of(pairs(entries[some], own[some]), theta[some], noise[some])
    # what changes by less than noise over the size of a parameter is not seen: a slope of noise / |p|
    looked, unseen = some, seen.noise * (2.0 * PLAIN_STEP)
    with np.errstate(invalid="ignore"):
        refuted = ~(np.abs(seen.differences - best.derivatives[some]) <= best.bars[some] + seen.noise)
    again = refuted | (best.bars > WIDE * size)[some]
    some, refuted = some[again], refuted[again]
    found = climb(some, own[some], seen.some(again))
    better = (found.bars < np.abs(found.derivatives)) & (refuted | (found.bars < best.bars[some]))
    best.derivatives[some[better]], best.bars[some[better]] = found.derivatives[better], found.bars[better]
    best.bars[looked] = np.fmax(best.bars[looked], unseen)
    return best


def _climb(
    at: Callable[[NDArray[np.intp], NDArray[np.float64]], Level], h: NDArray[np.float64], first: Level,
    scale: NDArray[np.float64], wanted: NDArray[np.float64], ladder: Ladder,
) -> Refined:  # fmt: skip
    """Goes through a ladder of steps, larger or smaller than `h`; `at` differences some entries with given steps."""
    best = Refined(first.differences.copy(), np.full(len(h), np.inf))

    def converged(which: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Where differences have agreed well. What smaller steps then show otherwise is noise that was not known of."""
        return np.asarray(best.bars[which] <= WIDE * np.abs(best.derivatives[which]))

    def improve(which: NDArray[np.intp], smaller: Level, larger: Level) -> tuple[NDArray[np.bool_], NDArray[Any]]:
        """Takes the differences with the smaller of two steps if they are the best so far, or refute the best.

        Returns where the differences with the two steps differ by noise alone, and by how much they differ.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            change = np.abs(smaller.differences - larger.differences)
            bars = CHANGES * change + smaller.noise
            off = np.abs(smaller.differences - best.derivatives[which])
            refuted = (off > best.bars[which] + smaller.noise) & ~converged(which)
            better = (bars < best.bars[which]) | refuted  # not where NaN
            only_noise = np.asarray((change <= smaller.noise + larger.noise) & np.isfinite(change))
        best.derivatives[which[better]] = smaller.differences[better]
        best.bars[which[better]] = bars[better]
        return only_noise, change

    def go_on(which: NDArray[np.intp], exponent: int) -> NDArray[np.bool_]:
        """Where a better difference is wanted, and there is a step for it."""
        # `scale` is of the differences with the first steps, which may be far too large
        typical = np.minimum(scale[which], _norms.root_mean_square(best.derivatives))
        known = np.where(np.isfinite(best.bars[which]), np.abs(best.derivatives[which]), 0.0)
        enough = np.fmax(PRECISE * np.fmax(known, typical), wanted[which])
        with np.errstate(over="ignore"):
            next_step = h[which] * ladder.ratio**exponent
        possible = (next_step > SMALLEST_STEP) & (next_step < LARGEST_STEP)
        return np.asarray((best.bars[which] > enough) & possible)

    everything = np.arange(len(h))
    larger, growing, changed = first, np.zeros(len(h), np.bool_), np.full(len(h), np.inf)
    if ladder.larger:
        larger = at(everything, h * ladder.ratio)
        growing, changed = improve(everything, first, larger)
    for sign, start, begin, end in ((1, growing, 2, ladder.larger), (-1, ~growing, 1, ladder.smaller)):
        which, last, changes = everything[start], (larger if sign > 0 else first).some(start), changed[start]
        for exponent in range(begin, end + 1):
            going = go_on(which, sign * exponent)
            which, last, changes = which[going], last.some(going), changes[going]
            if not len(which):
                break
            found = at(which, h[which] * ladder.ratio ** (sign * exponent))
            only_noise, change = improve(which, *((last, found) if sign > 0 else (found, last)))
            if sign < 0 and exponent == end:  # what does not converge is not known
                lost = which[~only_noise & ~(change < CONVERGING * changes) & ~converged(which)]
                best.derivatives[lost], best.bars[lost] = first.differences[lost], np.inf
            same_way = only_noise == (sign > 0)
            which, last, changes = which[same_way], found.some(same_way), change[same_way]
    return best
