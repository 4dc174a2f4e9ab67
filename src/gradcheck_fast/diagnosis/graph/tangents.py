"""Finds out for many mistakes at once by how much they change a gradient along some directions.

A mistake that changes what goes back to a step by δ changes the gradient along a direction r by (J r)·δ, where J r, the
tangent of that step, is found by one pass forward. So nothing need go back to the parameters. Only where a mistake is
made at several places, one above the other, as at every turn of a loop, its effect goes back from each to the next.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.diagnosis.graph.backward import OfSensitivity, Scaled
from gradcheck_fast.diagnosis.graph.rows import MOVES
from gradcheck_fast.program.primitive import SLOPE_STEP
from gradcheck_fast.program.steps.product import MATMUL

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, BlockRule, Change, EdgeRule, Reals

#: At most so many numbers of sensitivities are kept at once.
_MOST_ENTRIES = 4_000_000


class Tangents:
    """The derivatives of all steps of a program along some directions of its parameters.

    Parameters
    ----------
    backward : Backward
    directions : ndarray, shape (directions, size)

    Attributes
    ----------
    count : int
        How many directions there are.
    steps : list of ndarray or None
        The tangents of each step, of shape (directions, entries); None for a step that does not change.
    """

    def __init__(self, backward: Backward, directions: Reals) -> None:
        self.backward, self.count = backward, len(directions)
        each = [backward.moved(direction, SLOPE_STEP) for direction in directions]
        self.steps: list[Reals | None] = [
            None if moved[0] is None else np.stack([np.ravel(d) for d in moved]) / SLOPE_STEP
            for moved in zip(*each, strict=True)
        ]
        self._edges: dict[tuple[int, int], Reals] = {}
        self._right: dict[tuple[int, int | None], Reals | None] = {}

    def edge(self, number: int, k: int) -> Reals:
        """Returns the derivatives of a step by what its input k does alone, shape (directions, entries)."""
        if (number, k) not in self._edges:
            tangent = self.steps[number]
            if tangent is None or len(self.backward.inner(number)) > 1:
                tangent = self._alone(number, k)
            self._edges[number, k] = tangent
        return self._edges[number, k]

    def right(self, number: int, k: int | None = None) -> Reals | None:
        """Returns what rightly goes back from a step, or along an edge, along the directions.

        It is None if nothing of the step changes along them.
        """
        if (number, k) not in self._right:
            tangent = self.steps[number] if k is None else self.edge(number, k)
            bar = self.backward.bars[number].ravel()
            self._right[number, k] = None if tangent is None else tangent @ bar
        return self._right[number, k]

    def _alone(self, number: int, k: int) -> Reals:
        step, x = self.backward.steps[number], self.backward.x(number)
        own, found = self.steps[step.inputs[k]], np.zeros((self.count, np.size(self.backward.values[number])))
        if own is None:
            return found
        tangents = own.reshape(self.count, *np.shape(x[k]))
        if self.backward.is_entrywise(number):
            slope = self.backward.slope(number, k)
            tangents = tangents.reshape(self.count, *(1,) * (slope.ndim + 1 - tangents.ndim), *np.shape(x[k]))
            return (slope * tangents).reshape(found.shape)
        if step.primitive is MATMUL and {x[0].ndim, x[1].ndim} <= {1, 2}:
            if x[k].ndim == 1 and k == 1:  # a column of each tangent
                return (x[0] @ tangents[..., np.newaxis]).reshape(found.shape)
            return (tangents @ x[1] if k == 0 else x[0] @ tangents).reshape(found.shape)
        if step.primitive in MOVES:
            return self.backward.moves(number).forward(k, own)
        d: list[Reals | None] = [None] * len(x)
        for row, tangent in enumerate(tangents):
            d[k] = SLOPE_STEP * tangent
            found[row] = np.ravel(step.primitive.difference(x, d, **step.attributes)) / SLOPE_STEP
        return found

    def changes(self, changes: Sequence[Change]) -> Reals:
        """Returns by how much mistakes change the gradient along the directions, shape (mistakes, directions)."""
        found = np.zeros((len(changes), self.count))
        if len(changes):
            is_in_series = np.array([self.backward.is_in_series(change) for change in changes])
            entries = [np.size(self.backward.values[number]) for number in self.backward.bars]
            for kind, way, most in (
                (is_in_series, _InSeries, _MOST_ENTRIES // max(sum(entries), 1)),
                (~is_in_series, _Apart, _MOST_ENTRIES // max(entries, default=1)),
            ):
                (rows,) = np.nonzero(kind)
                for begin in range(0, len(rows), max(most, 1)):
                    some = rows[begin : begin + max(most, 1)]
                    found[some] = way(self, [changes[row] for row in some]).along()
        return found


class _Apart:
    """Mistakes none of which changes what comes to another of its places. Each has a row of what it changes."""

    def __init__(self, tangents: Tangents, changes: Sequence[Change]) -> None:
        self.tangents, self.backward, self.changes = tangents, tangents.backward, changes
        #: What rightly goes back at the places of the mistakes, along the directions; the rows, and which of these.
        self._right: list[Reals] = []
        self._taken: tuple[list[int], list[int]] = ([], [])
        #: What is added along the directions: the rows, and what is added to each.
        self._rows: list[int] = []
        self._added: list[Reals] = []

    def along(self) -> Reals:
        """Returns what each mistake changes along the directions."""
        blocks: dict[int, list[tuple[int, BlockRule]]] = {}
        edges: dict[tuple[int, int], list[tuple[int, EdgeRule]]] = {}
        for row, change in enumerate(self.changes):
            for number, block in change.blocks.items():
                blocks.setdefault(number, []).append((row, block))
            for edge, rule in change.edges.items():
                edges.setdefault(edge, []).append((row, rule))
        with np.errstate(all="ignore"):
            for number, of_step in blocks.items():
                if number in self.backward.bars:
                    self._make_blocks(number, of_step)
            for (number, k), of_edge in edges.items():
                source = dict(self.backward.inner(number)).get(k) if number in self.backward.bars else None
                if source is not None:
                    own = [(row, rule) for row, rule in of_edge if number not in self.changes[row].blocks]
                    self._make_edges(number, k, source, own)
            found = np.zeros((len(self.changes), self.tangents.count))
            if self._right:
                rows, which = self._taken
                np.subtract.at(found, rows, np.array(self._right)[which])
            if self._added:
                np.add.at(found, self._rows, np.concatenate(self._added))
        return found

    def _make_blocks(self, number: int, own: Sequence[tuple[int, BlockRule]]) -> None:
        self._take([row for row, _ in own], self.tangents.right(number))
        up, backs = self.backward.bars[number], dict[int, tuple[list[int], list["Reals"]]]()
        for row, block in own:
            for source, back in block(self.backward.right, up):
                rows, found = backs.setdefault(source, ([], []))
                rows.append(row)
                found.append(back)
        for source, (rows, found) in backs.items():
            self._add(rows, found, self.tangents.steps[source], np.shape(self.backward.values[source]))

    def _make_edges(self, number: int, k: int, source: int, own: Sequence[tuple[int, EdgeRule]]) -> None:
        self._take([row for row, _ in own], self.tangents.right(number, k))
        up, bars, rows, found = self.backward.bars[number], self.backward.right, list[int](), list["Reals"]()
        instead: tuple[list[int], list[Reals]] = ([], [])
        for row, rule in own:
            if isinstance(rule, OfSensitivity):
                instead[0].append(row)
                instead[1].append(bars(rule.other))
                continue
            back = rule(bars, up)
            if back is not None:
                rows.append(row)
                found.append(back)
        self._add(rows, found, self.tangents.steps[source], np.shape(self.backward.values[source]))
        self._add(*instead, self.tangents.edge(number, k), np.shape(up))

    def _take(self, rows: Sequence[int], right: Reals | None) -> None:
        """Takes away what rightly goes back, which is given along the directions."""
        if right is not None:
            self._taken[0].extend(rows)
            self._taken[1].extend([len(self._right)] * len(rows))
            self._right.append(right)

    def _add(self, rows: list[int], backs: list[Reals], tangent: Reals | None, shape: tuple[int, ...]) -> None:
        """Adds what goes back to a step of some shape and tangent."""
        if rows and tangent is not None:
            self._rows += rows
            self._added.append(_stacked(backs, shape).reshape(len(rows), -1) @ tangent.T)


class _InSeries:
    """Mistakes that change what comes to other places of theirs, followed together: each has a row of what is off."""

    def __init__(self, tangents: Tangents, changes: Sequence[Change]) -> None:
        self.tangents, self.backward = tangents, tangents.backward
        #: The mistakes by their first place, in order: what is off below it is of no use, so that fewer rows are left.
        self.order = sorted(range(len(changes)), key=lambda at: min(changes[at].steps))
        self.firsts = [min(changes[at].steps) for at in self.order]
        #: The rules at each step, by blocks and along each edge, with their rows.
        self.blocks: dict[int, list[tuple[int, BlockRule]]] = {}
        self.edges: dict[int, dict[int, list[tuple[int, EdgeRule]]]] = {}
        for row, change in enumerate(changes[at] for at in self.order):
            for number, block in change.blocks.items():
                self.blocks.setdefault(number, []).append((row, block))
            for (number, k), rule in change.edges.items():
                if number not in change.blocks:
                    self.edges.setdefault(number, {}).setdefault(k, []).append((row, rule))
        self.leads = self.backward.leading_to({*self.blocks, *self.edges} & self.backward.bars.keys())
        #: By how much the sensitivities of steps that lead to another place are off, in the rows that are left.
        self.off: dict[int, Reals] = {}
        self.found = np.zeros((len(changes), tangents.count))

    def along(self) -> Reals:
        """Goes from the last place back to the first, and returns what each mistake changes along the directions."""
        bars = self.backward.bars
        last = max((number for number in (*self.blocks, *self.edges) if number in bars), default=-1)
        with np.errstate(all="ignore"):
            for number in range(last, -1, -1):
                if number in bars:
                    cut: dict[int, list[int]] = {}
                    if number in self.blocks:
                        self._make_blocks(number, cut)
                    if number in self.edges:
                        self._make_edges(number, cut)
                    if number in self.off:
                        self._pass_on(number, cut)
        found = np.empty_like(self.found)
        found[self.order] = self.found
        return found

    def _make_blocks(self, number: int, cut: dict[int, list[int]]) -> None:
        """Makes the mistakes with all that goes back from a step; `cut` gets the rows in which nothing else does."""
        own = self.blocks[number]
        rows = [row for row, _ in own]
        backs: dict[int, tuple[list[int], list[Reals]]] = {}
        ups = self._taken(number, rows, None)
        for at, (row, block) in enumerate(own):
            for source, back in block(self.backward.bars_with(self.off, row), ups[at, ...]):
                made, found = backs.setdefault(source, ([], []))
                made.append(row)
                found.append(back)
        for k, source in self.backward.inner(number):
            if self.leads[source]:
                cut.setdefault(k, []).extend(rows)
                off = self._off(source)
                off[_left(rows, len(off))] -= self.backward.flow(number, k)
        for source, (made, found) in backs.items():
            self._add(source, made, found, None)

    def _make_edges(self, number: int, cut: dict[int, list[int]]) -> None:
        """Makes the mistakes along the edges from a step; `cut` gets the rows in which nothing else goes back there."""
        for k, source in self.backward.inner(number):
            own = self.edges[number].get(k, ())
            if not own:
                continue
            every = [row for row, _ in own]
            ups = self._taken(number, every, k)
            rows, found, none = list[int](), list["Reals"](), list[int]()
            scaled: dict[int, float] = {}
            for at, (row, rule) in enumerate(own):
                if isinstance(rule, Scaled):
                    scaled[at] = rule.factor
                    continue
                back = rule(self.backward.bars_with(self.off, row), ups[at, ...])
                if back is None:
                    none.append(row)
                else:
                    rows.append(row)
                    found.append(back)
            if scaled:
                rows += [every[at] for at in scaled]
                backs = self.backward.of_rows(number, k)(ups[[*scaled]])
                found += [factor * back for factor, back in zip(scaled.values(), backs, strict=True)]
            right = None
            if self.leads[source]:
                right = self.backward.flow(number, k)
                cut.setdefault(k, []).extend(every)
                if none:
                    off = self._off(source)
                    off[_left(none, len(off))] -= right
            if rows:
                self._add(source, rows, found, right)

    def _taken(self, number: int, rows: list[int], k: int | None) -> Reals:
        """Takes away what would go back, along an edge or all of it; returns the sensitivities of the step by rows."""
        right = self.backward.bars[number]
        if number not in self.off:
            along = self.tangents.right(number, k)
            if along is not None:
                self.found[rows] -= along
            return np.broadcast_to(right, (len(rows), *right.shape))
        ups = right + self.off[number][rows]
        tangent = self.tangents.steps[number] if k is None else self.tangents.edge(number, k)
        if tangent is not None:
            self.found[rows] -= ups.reshape(len(rows), -1) @ tangent.T
        return ups

    def _add(self, source: int, rows: list[int], backs: list[Reals], right: Reals | None) -> None:
        """Adds what goes back to a step in some rows, less what rightly does where that is given."""
        made = _stacked(backs, np.shape(self.backward.values[source]))
        # a block may go back to one step more than once
        add = _add_to if len(set(rows)) == len(rows) else np.add.at
        tangent = self.tangents.steps[source]
        if tangent is not None:
            add(self.found, rows, made.reshape(len(rows), -1) @ tangent.T)
        if self.leads[source]:
            off = self._off(source)
            left = _left(rows, len(off))
            if len(left) < len(rows):
                made = made[[row < len(off) for row in rows]]
            add(off, left, made if right is None else made - right)

    def _pass_on(self, number: int, cut: dict[int, list[int]]) -> None:
        """Takes what is off at a step back to its inputs, in the rows in which that edge is as it should be."""
        for k, source in self.backward.inner(number):
            if self.leads[source]:
                off = self._off(source)
                going = self.off[number][: len(off)]
                if k in cut:
                    going = going.copy()
                    going[_left(cut[k], len(off))] = 0.0
                off += self.backward.of_rows(number, k)(going)

    def _off(self, source: int) -> Reals:
        """Returns what is off at a step: a row for each mistake that has a place there, or at a step before it."""
        if source not in self.off:
            count = bisect_right(self.firsts, source)
            self.off[source] = np.zeros((count, *np.shape(self.backward.values[source])))
        return self.off[source]


def _stacked(backs: Sequence[Reals], shape: tuple[int, ...]) -> Reals:
    found = np.empty((len(backs), *shape))
    for row, back in enumerate(backs):
        found[row] = back
    return found


def _left(rows: list[int], count: int) -> list[int]:
    return [row for row in rows if row < count]


def _add_to(to: Reals, rows: list[int], added: Reals) -> None:
    to[rows] += added
