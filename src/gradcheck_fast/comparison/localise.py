"""Which entries of an array are wrong: found by halving, along a direction that is already known to show an error.

The direction r is kept on the way down, only restricted to ever smaller parts. So e·r of a part is the sum of those of
its halves: no error can vanish on the way, and where one half has all of it or nothing, the other need not be looked
at. A matrix is halved by rows, and the rows that are left by columns; k wrong entries take some 3 to 6 k log₂ P
evaluations. Where more rows or entries are
wrong than can be listed, the rows and columns at which errors begin and end are found, and entries between them are
drawn and differenced one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf, sqrt
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.comparison.probe import better_step
from gradcheck_fast.comparison.results import Block
from gradcheck_fast.numerical.gradient import PLAIN_STEP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.comparison.lines import Tolerance
    from gradcheck_fast.comparison.probe import Direction, Line, Part, Probe, Table

#: More wrong entries, or rows, or columns, are not listed one by one.
MOST = 32
#: Entries that are drawn of a block, and differenced.
DRAWN = 64
#: How well a part's e·r is to be found, relative to what is looked for; and a bar at which no better step is tried.
_FINE, _NARROW = 2.0**-10, 2.0**-6
#: The same of the difference of one entry.
_ENTRY_ACCURACY = 3e-5
_ATTEMPTS = 3
#: What one half leaves to the other is not looked for before the next round, if it is so small a part of both.
#: Not within a block: it would get holes.
_NEGLIGIBLE = 2.0**-9
#: Third differences of so many lines say what rounding is like.
_RECENT = 31


class Checked(NamedTuple):
    """One entry: its place in the table, the central difference, its error bar, and its error over what is right."""

    row: int
    column: int
    numerical: float
    bar: float
    excess: float

    @property
    def wrong(self) -> bool:
        """Whether it is."""
        return self.excess > 1.0


class Located(NamedTuple):
    """What was found in one array.

    Attributes
    ----------
    entries : tuple of Checked
        Single wrong entries.
    blocks : tuple of Block
        Where more is wrong than can be listed.
    drawn : tuple of Checked
        The entries of the blocks that were differenced, right or wrong.
    """

    entries: tuple[Checked, ...] = ()
    blocks: tuple[Block, ...] = ()
    drawn: tuple[Checked, ...] = ()

    def and_more(self, other: Located) -> Located:
        """Both together."""
        return Located(self.entries + other.entries, self.blocks + other.blocks, self.drawn + other.drawn)


class Stretch(NamedTuple):
    """Rows or columns from begin to end, the e·r that they show, and whether what adjoined them showed none."""

    begin: int
    end: int
    residual: float
    alone: bool = True


#: The e·r of the rows or columns from begin to end, 0 if that is less than its bar; the third number is what is sought.
Look = Callable[[int, int, float], float]


def locate(
    probe: Probe, table: Table, tolerance: Tolerance, *, number: int, residual: float, size: float, step: float | None
) -> Located:
    """What is wrong in one array, as far as one direction shows it.

    Parameters
    ----------
    probe, table, tolerance, step
        As for `lines.check_along`.
    number : int
        The direction, of `table`.
    residual : float
        What it showed.
    size : float
        The typical size of a true entry.
    """
    return _Localiser(probe, table, tolerance, size, step, number).locate(residual)


class _Localiser:
    """Looks at parts of one array along one direction."""

    def __init__(
        self, probe: Probe, table: Table, tolerance: Tolerance, size: float, step: float | None, number: int
    ) -> None:
        self._probe, self._table, self._tolerance = probe, table, tolerance
        self._size = size
        self._step = step
        self._r = table.direction(number)
        self._random = table.generator(number, 1)
        self._thirds: list[float] = []
        self._seen: dict[tuple[tuple[int, int], ...], float] = {}

    def locate(self, residual: float) -> Located:
        """The wrong entries, or blocks that hold them."""
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
        """The central difference of one entry; its error, if something is known of it, is to be seen."""
        part = (slice(row, row + 1), slice(column, column + 1))
        g, p = float(self._table.gradient[row, column]), float(self._table.theta[row, column])
        accuracy = min(_ENTRY_ACCURACY * max(abs(g), self._size), _NARROW * error)
        step = self._step or min(self._probe.step(accuracy, 1.0), PLAIN_STEP * max(1.0, abs(p)))
        line, bar = self._measure(part, lambda: np.ones((1, 1)), step, accuracy)
        tolerance = bar + self._tolerance.of_entry(max(abs(g), self._size))
        excess = abs(line.residual) / tolerance if tolerance else inf if line.residual else 0.0
        return Checked(row, column, line.slope, bar, excess)

    def _columns_of_each(self, rows: list[Stretch]) -> list[tuple[int, int, float]] | None:
        """The places of wrong entries, row by row, and how wrong they are; None if there are too many."""
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
        """Differences entries of a block: all if they are few, else some at random."""
        height, width = self._table.shape
        i, j = np.flatnonzero(inside(rows, height)), np.flatnonzero(inside(columns, width))
        size = len(i) * len(j)
        if size == 0:
            return Located()
        drawn = np.sort(self._random.choice(size, min(size, DRAWN), replace=False))
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
        """Whether a row or column is wrong, by another direction, in which its errors will not cancel again."""
        r = self._random.standard_normal(self._table.theta[part].shape)
        r[self._r[part] == 0.0] = 0.0
        return self._find(part, lambda: r, _NARROW * self._size * sqrt(r.size)) != 0.0

    def _find(self, part: Part, direction: Direction, sought: float) -> float:
        accuracy = _FINE * abs(sought)
        step = self._step or self._probe.step(accuracy, self._table.scale)
        line, bar = self._measure(part, direction, step, accuracy)
        return line.residual if abs(line.residual) > bar + self._tolerance.of_part(self._table, part) else 0.0

    def _measure(self, part: Part, direction: Direction, step: float, accuracy: float) -> tuple[Line, float]:
        """A line with its bar, by a better step where the bar is too wide."""
        for _ in range(_ATTEMPTS):
            line = self._probe.line(self._table, part, direction, step)
            self._thirds.append(line.third)
            bar = line.bar(max(self._probe.noise, median(self._thirds[-_RECENT:])))
            better = better_step(self._probe, line, accuracy, self._table.largest)
            if bar < _NARROW * abs(line.residual) or better == step or self._step is not None:
                break
            step = better
        return line, bar


class Halves(NamedTuple):
    """Stretches in which something is wrong, in order; single rows or columns, if `complete`."""

    stretches: list[Stretch]
    complete: bool


def halve(look: Look, extent: int, residual: float) -> Halves:
    """Halves what is wrong until only single rows or columns are left, or too many stretches, or one long one."""
    live = [Stretch(0, extent, residual)]
    while any(stretch.end - stretch.begin > 1 for stretch in live):
        if len(live) > MOST or (2 * len(live) >= MOST and len(_neighbours(live)) == 1):
            return Halves(live, False)
        live = [half for stretch in live for half in _wrong_halves(look, stretch)]
    return Halves(live, len(live) <= MOST)


def _wrong_halves(look: Look, stretch: Stretch) -> list[Stretch]:
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
    """Neighbouring stretches as one; its first and last rows or columns are wrong."""
    merged = _neighbours(halves.stretches)
    return [(_edge(look, run[0], 0).begin, _edge(look, run[-1], -1).end) for run in merged]


def _neighbours(stretches: list[Stretch]) -> list[list[Stretch]]:
    """Those that adjoin each other, together."""
    merged: list[list[Stretch]] = []
    for stretch in stretches:
        if merged and merged[-1][-1].end == stretch.begin:
            merged[-1].append(stretch)
        else:
            merged.append([stretch])
    return merged


def _edge(look: Look, stretch: Stretch, which: int) -> Stretch:
    """The first (0) or last (-1) wrong row or column of a stretch."""
    while stretch.end - stretch.begin > 1:
        stretch = _wrong_halves(look, stretch._replace(alone=False))[which]
    return stretch


def widened(stretches: list[tuple[int, int]], extent: int, is_wrong: Callable[[int], bool]) -> list[tuple[int, int]]:
    """With the neighbours of their ends that are wrong as well."""
    where = inside(stretches, extent)
    for begin, end in stretches:
        for k, way in ((begin - 1, -1), (end, 1)):
            while 0 <= k < extent and not where[k] and is_wrong(k):
                where[k] = True
                k += way
    edges = np.flatnonzero(np.diff(where, prepend=False, append=False))
    return [(int(begin), int(end)) for begin, end in edges.reshape(-1, 2)]


def inside(stretches: Iterable[tuple[int, int]], extent: int) -> NDArray[np.bool_]:
    """Which of so many rows or columns lie in one of the stretches."""
    where = np.zeros(extent, np.bool_)
    for begin, end in stretches:
        where[begin:end] = True
    return where
