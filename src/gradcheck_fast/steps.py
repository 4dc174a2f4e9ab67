"""The step of each entry, in plain arithmetic: a small one loses digits to noise, a large one to truncation.

Central differences are found with a ladder of steps, each so many times the next: truncation, of the order of h²,
shows as the change from one to the next; noise, of the order of 1/h, is known. From the first step, ∛ε max(1, |p|),
steps grow while only noise is seen, or shrink until no truncation is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from .differences import EPSILON, LARGEST_STEP, SMALLEST_STEP, Refined

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: An error bar is so many times what changes to the next larger step, and so many times the noise of a difference.
CHANGES, NOISES = 1.5, 4.0
#: More is not wanted: an error bar of this part of an entry.
PRECISE = 1e-9

#: Gives, for some entries and steps h, E(p + h), E(p - h) and the distance of the two points: three rows.
Pairs: TypeAlias = Callable[["NDArray[np.intp]", "NDArray[np.float64]"], "NDArray[np.float64]"]


class Ladder(NamedTuple):
    """The ratio of each step to the next, and how many larger and smaller ones than the first may be tried."""

    ratio: float
    larger: int
    smaller: int


THOROUGH = Ladder(4.0, 7, 13)
#: Looks for less truncation only, not for less noise.
QUICK = Ladder(32.0, 0, 5)


class Level(NamedTuple):
    """Central differences with one step for each entry."""

    differences: NDArray[np.float64]
    noise: NDArray[np.float64]

    @classmethod
    def of(cls, pairs: NDArray[np.float64], theta: NDArray[np.float64], noise: float) -> Level:
        """From what `Pairs` gives at parameters `theta`; the values have this noise, and roundings.

        A function may round its values, and its arguments: that is as if these were elsewhere.
        """
        plus, minus, width = pairs
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            differences = np.where(width > 0.0, (plus - minus) / width, 0.0)  # 0: a step that is lost is all noise
            rounded = np.maximum(np.maximum(np.abs(plus), np.abs(minus)), np.abs(theta * differences))
            return cls(differences, NOISES * (noise + EPSILON * rounded) / width)

    def some(self, which: NDArray[Any]) -> Level:
        """Of some of the entries."""
        return Level(self.differences[which], self.noise[which])


def refine(
    pairs: Pairs, entries: NDArray[np.intp], theta: NDArray[np.float64], h: NDArray[np.float64], first: Level,
    scale: NDArray[np.float64], noise: float, ladder: Ladder,
) -> Refined:  # fmt: skip
    """Finds for each entry the step of the least error.

    Parameters
    ----------
    pairs : callable
    entries : ndarray of int, shape (size,)
    theta, h : ndarray, shape (size,)
        The parameters, and the first step of each.
    first : Level
        What was found with it.
    scale : ndarray, shape (size,)
        The size of what each is to be compared with: bars of a small part of it are narrow enough.
    noise : float
        Of the values; see `Level.of`.
    ladder : Ladder
        The steps.
    """
    best = Refined(first.differences.copy(), np.full(len(entries), np.inf))

    def at(which: NDArray[np.intp], exponent: int) -> Level:
        return Level.of(pairs(entries[which], h[which] * ladder.ratio**exponent), theta[which], noise)

    def improve(which: NDArray[np.intp], smaller: Level, larger: Level) -> NDArray[np.bool_]:
        """Takes the differences with the smaller of two steps where they are the best so far.

        Returns where the two differ by noise alone.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            change = np.abs(smaller.differences - larger.differences)
            bars = CHANGES * change + smaller.noise
            better = bars < best.bars[which]  # not where NaN
            only_noise = np.asarray(change <= smaller.noise + larger.noise)
        best.derivatives[which[better]] = smaller.differences[better]
        best.bars[which[better]] = bars[better]
        return only_noise

    def go_on(which: NDArray[np.intp], last: Level, exponent: int) -> NDArray[np.bool_]:
        """Where a better difference is wanted, and there is a step for it."""
        enough = PRECISE * np.fmax(np.abs(best.derivatives[which]), scale[which])
        flat = (last.differences == 0.0) & (first.differences[which] == 0.0) & (exponent > 0)
        with np.errstate(over="ignore"):
            next_step = h[which] * ladder.ratio**exponent
        possible = (next_step > SMALLEST_STEP) & (next_step < LARGEST_STEP)
        return np.asarray((best.bars[which] > enough) & ~flat & possible)

    everything = np.arange(len(entries))
    larger, growing = first, np.zeros(len(entries), np.bool_)
    if ladder.larger:
        larger = at(everything, 1)
        growing = improve(everything, first, larger)
    for sign, start, begin, end in ((1, growing, 2, ladder.larger), (-1, ~growing, 1, ladder.smaller)):
        which, last = everything[start], (larger if sign > 0 else first).some(start)
        for exponent in range(begin, end + 1):
            wanted = go_on(which, last, sign * exponent)
            which, last = which[wanted], last.some(wanted)
            if not len(which):
                break
            found = at(which, sign * exponent)
            only_noise = improve(which, *((last, found) if sign > 0 else (found, last)))
            same_way = only_noise == (sign > 0)
            which, last = which[same_way], found.some(same_way)
    return best
