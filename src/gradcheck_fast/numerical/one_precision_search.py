"""Searches for lines, around entries or to one side of them, on which errors of the given derivatives show best."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.numerical.one_precision_line import MORE_STEPS, STEPS, Means, on_lines

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.numerical.one_precision_line import Line, OnLines, Roundings

#: Half of the length of a line, in the largest of the steps; and that of another one, which is tried where something
#: seems wrong on the first.
LINE, OTHER_LINE = 0.5, 0.37
#: By which factor the line is made shorter, or longer, if its bar is too wide, and how often, at most.
SHORTER, TIMES, TIMES_LONGER = 2.0, 10, 5
#: A longer line is worth while if it has at most this part of the bar of the one before.
WORTH = 0.8
#: An error of more than so many bars is no rounding; and one shrinks if on a line that is twice as long less than this
#: part of it is left.
CERTAIN, SHRUNK = 2.0, 0.75


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

    def to_see(self, errors: NDArray[np.float64]) -> Wanted:
        """Gives the same, but that bars are narrow enough to say something if they are less than some errors."""
        return self._replace(narrow=np.fmax(self.narrow, np.abs(errors)))


def compare_means(line: Line, roundings: Roundings, longest: NDArray[np.float64], wanted: Wanted) -> Means:
    """Compares the differences of some entries with means of the given derivatives.

    What seems wrong is looked at again on other lines, as these have other roundings. It is wrong if these, too, show
    an error of the same sign, of more than their bars. Where it is not much more, it must not be a rounding either that
    all differences have in common: on a line twice as long, that makes half the error. So does a mistake that is there
    beside the entry alone; then nothing is decided.

    Parameters
    ----------
    line : Line
    roundings : Roundings
    longest : ndarray of float64, shape (entries,)
        The length of the first lines. They are made longer while what is seen is noise alone, else shorter.
    wanted : Wanted
    """
    own = _compare_once(line, roundings, LINE * longest, wanted)
    wrong = np.flatnonzero(np.abs(own.errors) > own.bars)
    if len(wrong):
        errors = own.errors[wrong]
        other = _compare_once(
            line.of(wrong), roundings.of(wrong), OTHER_LINE * longest[wrong], wanted.of(wrong).to_see(errors)
        )
        agree = other.errors * np.sign(errors) > other.bars
        own.take(wrong, other, np.isfinite(other.errors) & ~agree)
        some = wrong[agree & (np.abs(errors) <= CERTAIN * own.bars[wrong])]
        own.bars[some] = np.where(_shrink(line, some, own.lengths[some], roundings), np.inf, own.bars[some])
    return own


def _shrink(line: Line, some: NDArray[np.intp], length: NDArray[np.float64], roundings: Roundings) -> NDArray[np.bool_]:
    """Whether errors are less on lines that are twice as long, as they are if a rounding is all that makes them.

    They are less in themselves, and as parts of the given derivatives.
    """
    if not len(some):
        return np.zeros(0, np.bool_)
    own, longer = (on_lines(line, some, k * length, roundings.of(some), 0, MORE_STEPS) for k in (1.0, 2.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        smooth = own.rule + longer.rule <= (1.0 - SHRUNK) * np.abs(own.errors)
        kept = SHRUNK * np.fmin(1.0, longer.slopes / own.slopes) * np.abs(own.errors)
        return np.asarray(smooth & (longer.errors * np.sign(own.errors) < kept))


def _compare_once(line: Line, roundings: Roundings, most: NDArray[np.float64], wanted: Wanted) -> Means:
    """Compares once. `most` is half of the length of the first lines.

    The lines lie around the entries. Where something close by, as a kink to one side, makes their bars too wide, lines
    to each side are tried, too. As an entry lies at the end of these, where they say little of it, they can show that
    it is wrong, but not that it is right; and one of them cannot if the other one shows the contrary.
    """
    search = _Search(line, roundings, wanted, 0)
    search.run(most)
    found = search.found
    some = np.flatnonzero((found.bars > wanted.needed) & (search.smooth <= wanted.narrow))
    if len(some):
        sides = []
        for side in (1, -1):
            search = _Search(line.of(some), roundings.of(some), wanted.of(some), side)
            search.run(most[some])
            sides.append(search.found)
        for own, other in (sides, sides[::-1]):
            errors = np.abs(own.errors)
            contrary = ~(other.errors * np.sign(own.errors) > other.bars) & (other.bars < errors)
            found.take(some, own, (errors > own.bars) & (own.bars < found.bars[some]) & ~contrary)
    return found


class _Search:
    """Compares on lines of several lengths to find the least bars.

    Parameters
    ----------
    line : Line
    roundings : Roundings
    wanted : Wanted
    side : int
        0 for lines around the entries, 1 and -1 for those to one side.

    Attributes
    ----------
    found : Means
    smooth : ndarray of float64, shape (entries,)
        The least bars that there would be if nothing close by made them wider.
    """

    def __init__(self, line: Line, roundings: Roundings, wanted: Wanted, side: int) -> None:
        count = len(wanted.enough)
        self._line, self._roundings, self._wanted, self._side = line, roundings, wanted, side
        self.found = Means.unknown(count)
        self.smooth = np.full(count, np.inf)
        self._expected, self._lengths, self._errors = np.full(count, np.inf), np.ones(count), np.zeros(count)

    def run(self, most: NDArray[np.float64]) -> None:
        """Compares on lines of which half is as long as `most`, on longer and shorter ones, and with more steps."""
        every = np.arange(len(most))
        longer, shorter = self._improve(every, most)
        some, length = every[longer], most
        for _ in range(TIMES_LONGER):
            if not len(some):
                break
            length = length * SHORTER
            longer, _ = self._improve(some, length[some])
            some = some[longer]
        some, length = every[shorter], most
        for _ in range(TIMES):
            if not len(some):
                break
            length = length / SHORTER
            _, shorter = self._improve(some, length[some])
            some = some[shorter]
        worth = (self._expected <= self._wanted.narrow) | (np.abs(self._errors) > self._expected)
        some = np.flatnonzero((self.found.bars > self._wanted.needed) & worth)
        if len(some):
            seen = self._on_lines(some, self._lengths[some], MORE_STEPS)
            self.found.take(some, seen.means, seen.bars < self.found.bars[some])

    def _improve(
        self, some: NDArray[np.intp], length: NDArray[np.float64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Tries lines. Returns which of the entries may do better with longer ones, and which with shorter ones."""
        seen, found = self._on_lines(some, length, STEPS), self.found
        bars = seen.bars
        better, much_better = bars < found.bars[some], bars < WORTH * found.bars[some]
        found.take(some, seen.means, better)
        self.smooth[some] = np.fmin(self.smooth[some], seen.bars_if_smooth)
        expected = seen.bars_with_more_steps
        best = expected < self._expected[some]
        for array, new in (self._expected, expected), (self._lengths, length), (self._errors, seen.errors):
            array[some[best]] = new[best]
        known, is_wide = np.isfinite(bars), found.bars[some] > self._wanted.enough[some]
        longer = is_wide & known & much_better & seen.are_smooth
        shorter = np.where(known, ~seen.are_accurate | (better & ~longer), np.isinf(found.bars[some]))
        return longer, is_wide & shorter

    def _on_lines(self, some: NDArray[np.intp], length: NDArray[np.float64], steps: int) -> OnLines:
        return on_lines(self._line, some, length, self._roundings.of(some), self._side, steps)
