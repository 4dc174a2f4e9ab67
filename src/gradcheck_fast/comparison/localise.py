"""Finds the wrong entries of an array by halving, along a direction that is already known to show an error.

The direction r stays the same on the way down; it is only restricted to ever smaller parts. So the e·r of a part is the
sum of those of its halves. No error can vanish on the way, and if one half has all of it or nothing, the other need not
be looked at. A matrix is halved by rows, and the rows that are left are halved by columns; to find k wrong entries
among P takes some 3 to 6 k log₂ P evaluations. If more rows or entries are wrong than can be listed, the rows and
columns at which errors begin and end are found, and entries between them are drawn and differenced one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf, sqrt
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.comparison.results import Block
from gradcheck_fast.numerical.gradient import PLAIN_STEP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.comparison.lines import Tolerance
    from gradcheck_fast.comparison.probe import Direction, Line, Part, Probe, Table

#: How many wrong entries, rows or columns are found one by one, at most; where there are more, a block is described.
MOST = 32
#: From this many neighbouring rows or columns on, a single run of wrong ones is a block: to halve it further would find
#: every one of them wrong.
_LONG = MOST // 2
#: How many entries of a block are drawn and differenced. A block of no more entries is looked at in full.
DRAWN = 64
#: How accurately the e·r of a part is to be found, relative to the e·r that is looked for.
_FINE = 2.0**-10
#: An error bar of no more than this part of an error is narrow: the error is certain, and no better step is tried.
_NARROW = 2.0**-6
#: How accurately one entry is to be differenced, relative to its size or to the typical size of an entry.
_ENTRY_ACCURACY = 3e-5
#: How many steps are tried for a line, at most: the first, and better ones that the lines before suggest.
_ATTEMPTS = 3
#: If the first half shows all of an error but for this part, the other half is left for the next round. That does not
#: hold within a block, which would get holes.
_NEGLIGIBLE = 2.0**-9
#: How many lines, the latest, tell by the median of their third differences what rounding is like.
_RECENT = 31


class Checked(NamedTuple):
    """One entry that was differenced by itself.

    Attributes
    ----------
    row, column : int
        Its place in the table.
    numerical : float
        The central difference.
    bar : float
        Its error bar.
    excess : float
        The error of the analytic entry, divided by what is tolerated.
    """

    row: int
    column: int
    numerical: float
    bar: float
    excess: float

    @property
    def wrong(self) -> bool:
        """Whether the entry is beyond its tolerance."""
        return self.excess > 1.0


class Located(NamedTuple):
    """What was found to be wrong in one array.

    Attributes
    ----------
    entries : tuple of Checked
        Wrong entries that were found one by one.
    blocks : tuple of Block
        Parts of the array in which more is wrong than can be listed.
    drawn : tuple of Checked
        The entries of the blocks that were drawn and differenced, right or wrong.
    """

    entries: tuple[Checked, ...] = ()
    blocks: tuple[Block, ...] = ()
    drawn: tuple[Checked, ...] = ()

    def and_more(self, other: Located) -> Located:
        """Adds what was found in another round."""
        return Located(self.entries + other.entries, self.blocks + other.blocks, self.drawn + other.drawn)


class Stretch(NamedTuple):
    """A stretch of rows or columns that show an error.

    Attributes
    ----------
    begin, end : int
        The first of them, and the one after the last.
    residual : float
        Their e·r.
    alone : bool
        Whether no other half of what was halved has shown an error.
    """

    begin: int
    end: int
    residual: float
    alone: bool = True


#: ``look(begin, end, sought)`` gives the e·r of the rows or columns begin..end - 1, or 0 if its error bar and what is
#: tolerated explain it. `sought` is the e·r of the part that is halved: it says how accurate the answer must be.
Look = Callable[[int, int, float], float]


def locate(
    probe: Probe, table: Table, tolerance: Tolerance, *, number: int, residual: float, size: float, step: float | None
) -> Located:
    """Finds what is wrong in one array, as far as one direction shows it.

    Parameters
    ----------
    probe : Probe
        Evaluates the cost.
    table : Table
        The array.
    tolerance : Tolerance
        What is right.
    number : int
        The number of the direction in `table`.
    residual : float
        The e·r that it has shown.
    size : float
        The typical size of an entry of the true gradient.
    step : float or None
        h; None if it is chosen for each line.
    """
    return _Localiser(probe, table, tolerance, size, step, number).locate(residual)


class _Localiser:
    """Looks at parts of one array along one direction; see `locate`."""

    def __init__(
        self, probe: Probe, table: Table, tolerance: Tolerance, size: float, step: float | None, number: int
    ) -> None:
        self._probe, self._table, self._tolerance = probe, table, tolerance
        self._size = size
        self._step = step
        self._r = table.direction(number)
        self._random = table.generator(number, 1)  # the direction itself comes from generator(number)
        self._thirds: list[float] = []
        self._seen: dict[tuple[tuple[int, int], ...], float] = {}

    def locate(self, residual: float) -> Located:
        """Finds the wrong entries, or blocks in which they are."""
        height, width = self._table.shape
        rows = halve(self._rows, height, residual)
        if rows.complete:
            places = self._columns_of_each(rows.stretches)
            if places is not None:
                entries = [self._entry(*place) for place in places]
                return Located(tuple(entry for entry in entries if entry.wrong))
        everything = slice(0, width)
        found = widened(runs(self._rows, rows), height, lambda k: self._look_again((slice(k, k + 1), everything)))
        if not found:
            return Located()
        self._r[~inside(found, height)] = 0.0
        between = slice(found[0][0], found[-1][1])
        look = lambda begin, end, sought: self._look((between, slice(begin, end)), sought)
        columns = runs(look, halve(look, width, residual))
        return self._draw(found, widened(columns, width, lambda k: self._look_again((between, slice(k, k + 1)))))

    def _entry(self, row: int, column: int, error: float = inf) -> Checked:
        """Differences one entry, so accurately that an error of the given size is certain to be seen."""
        part = (slice(row, row + 1), slice(column, column + 1))
        g, p = float(self._table.gradient[row, column]), float(self._table.theta[row, column])
        accuracy = min(_ENTRY_ACCURACY * max(abs(g), self._size), _NARROW * error)
        step = self._step or min(self._probe.step(accuracy, 1.0), PLAIN_STEP * max(1.0, abs(p)))
        line, bar = self._measure(part, lambda: np.ones((1, 1)), step, accuracy)
        tolerance = bar + self._tolerance.of_entry(max(abs(g), self._size))
        excess = abs(line.residual) / tolerance if tolerance else inf if line.residual else 0.0
        return Checked(row, column, line.slope, bar, excess)

    def _columns_of_each(self, rows: list[Stretch]) -> list[tuple[int, int, float]] | None:
        """Finds the wrong entries row by row: row, column and error of each. Returns None if they are too many."""
        found: list[tuple[int, int, float]] = []
        for row in rows:
            look = lambda begin, end, sought, k=row.begin: self._look((slice(k, k + 1), slice(begin, end)), sought)
            halves = halve(look, self._table.shape[1], row.residual)
            found += [
                (row.begin, stretch.begin, abs(stretch.residual / self._r[row.begin, stretch.begin]))
                for stretch in halves.stretches
                if stretch.end - stretch.begin == 1 and self._r[row.begin, stretch.begin]
            ]
            if not halves.complete or len(found) > MOST:
                return None
        return found

    def _draw(self, rows: list[tuple[int, int]], columns: list[tuple[int, int]]) -> Located:
        """Differences the entries of a block: all if they are few, otherwise some that are drawn at random."""
        height, width = self._table.shape
        i, j = np.flatnonzero(inside(rows, height)), np.flatnonzero(inside(columns, width))
        size = len(i) * len(j)
        if size == 0:
            return Located()
        drawn = np.sort(self._random.choice(size, min(size, DRAWN), replace=False))
        fixed = self._table.fixed
        if fixed is not None:
            drawn = drawn[~fixed[i[drawn // len(j)], j[drawn % len(j)]]]
        entries = tuple(self._entry(int(i[k // len(j)]), int(j[k % len(j)])) for k in drawn)
        wrong = sum(entry.wrong for entry in entries)
        if wrong < size <= DRAWN:
            return Located(tuple(entry for entry in entries if entry.wrong))
        block = Block(tuple(rows), tuple(columns), self._table.shape, len(entries), wrong)
        return Located(blocks=(block,), drawn=entries)

    def _rows(self, begin: int, end: int, sought: float) -> float:
        return self._look((slice(begin, end), slice(0, self._table.shape[1])), sought)

    def _look(self, part: Part, sought: float) -> float:
        key = tuple((side.start, side.stop) for side in part)
        if key not in self._seen:
            self._seen[key] = self._find(part, lambda: self._r[part], sought)
        return self._seen[key]

    def _look_again(self, part: Part) -> bool:
        """Whether a row or column is wrong. A new direction tells, along which its errors do not cancel once more.

        What is sought is the e·r that errors of the part `_NARROW` of typical entries would show.
        """
        r = self._random.standard_normal(self._table.theta[part].shape)
        r[self._r[part] == 0.0] = 0.0
        return self._find(part, lambda: r, _NARROW * self._size * sqrt(r.size)) != 0.0

    def _find(self, part: Part, direction: Direction, sought: float) -> float:
        accuracy = _FINE * abs(sought)
        step = self._step or self._probe.step(accuracy, self._probe.unit(self._table))
        line, bar = self._measure(part, direction, step, accuracy)
        return line.residual if abs(line.residual) > bar + self._tolerance.of_part(self._table, part) else 0.0

    def _measure(self, part: Part, direction: Direction, step: float, accuracy: float) -> tuple[Line, float]:
        """Measures a line and its error bar, with better steps as long as the bar is too wide."""
        for _ in range(_ATTEMPTS):
            line = self._probe.line(self._table, part, direction, step)
            self._thirds.append(line.third)
            bar = line.bar(max(self._probe.noise, median(self._thirds[-_RECENT:])))
            better = self._probe.better_step(line, accuracy, self._table.largest)
            if bar < _NARROW * abs(line.residual) or better == step or self._step is not None:
                break
            step = better
        return line, bar


class Halves(NamedTuple):
    """What halving has come to.

    Attributes
    ----------
    stretches : list of Stretch
        The stretches in which something is wrong, in order.
    complete : bool
        Whether each of them is a single row or column.
    """

    stretches: list[Stretch]
    complete: bool


def halve(look: Look, extent: int, residual: float) -> Halves:
    """Halves what is wrong until only single rows or columns are left, too many stretches, or one long run of them.

    Parameters
    ----------
    look : callable
        Measures a part; see `Look`.
    extent : int
        The number of rows or columns.
    residual : float
        The e·r of all of them.
    """
    live = [Stretch(0, extent, residual)]
    while any(stretch.end - stretch.begin > 1 for stretch in live):
        if len(live) > MOST or (len(live) >= _LONG and len(_neighbours(live)) == 1):
            return Halves(live, False)
        live = [half for stretch in live for half in _wrong_halves(look, stretch)]
    return Halves(live, len(live) <= MOST)


def _wrong_halves(look: Look, stretch: Stretch) -> list[Stretch]:
    """Halves a stretch, and returns the half, or both, in which something is wrong; a single row stays as it is."""
    begin, end, residual, alone = stretch
    if end - begin == 1:
        return [stretch]
    middle = (begin + end) // 2
    left = look(begin, middle, residual)
    if left == 0.0:
        return [Stretch(middle, end, residual)]
    if alone and abs(residual - left) <= _NEGLIGIBLE * abs(residual):
        return [Stretch(begin, middle, left)]
    right = look(middle, end, residual)
    if right == 0.0:
        return [Stretch(begin, middle, left)]
    return [Stretch(begin, middle, left, False), Stretch(middle, end, right, False)]


def runs(look: Look, halves: Halves) -> list[tuple[int, int]]:
    """Joins neighbouring stretches, and trims each run to its first and its last wrong row or column."""
    merged = _neighbours(halves.stretches)
    return [(_edge(look, run[0], 0).begin, _edge(look, run[-1], -1).end) for run in merged]


def _neighbours(stretches: list[Stretch]) -> list[list[Stretch]]:
    """Groups stretches that adjoin each other."""
    merged: list[list[Stretch]] = []
    for stretch in stretches:
        if merged and merged[-1][-1].end == stretch.begin:
            merged[-1].append(stretch)
        else:
            merged.append([stretch])
    return merged


def _edge(look: Look, stretch: Stretch, which: int) -> Stretch:
    """Finds the first wrong row or column of a stretch, if `which` is 0, or the last one, if it is -1."""
    while stretch.end - stretch.begin > 1:
        stretch = _wrong_halves(look, stretch._replace(alone=False))[which]
    return stretch


def widened(stretches: list[tuple[int, int]], extent: int, is_wrong: Callable[[int], bool]) -> list[tuple[int, int]]:
    """Extends stretches by the wrong rows or columns next to their ends; returns (begin, end) of each, in order."""
    where = inside(stretches, extent)
    for begin, end in stretches:
        for k, way in ((begin - 1, -1), (end, 1)):
            while 0 <= k < extent and not where[k] and is_wrong(k):
                where[k] = True
                k += way
    edges = np.flatnonzero(np.diff(where, prepend=False, append=False))
    return [(int(begin), int(end)) for begin, end in edges.reshape(-1, 2)]


def inside(stretches: Iterable[tuple[int, int]], extent: int) -> NDArray[np.bool_]:
    """Returns a mask of `extent` rows or columns that tells which of them lie in one of the stretches."""
    where = np.zeros(extent, np.bool_)
    for begin, end in stretches:
        where[begin:end] = True
    return where
