"""Finds out for many mistakes at once by how much they change a gradient along some directions.

A mistake that changes what goes back to a step by δ changes the gradient along a direction r by (J r)·δ, where J r, the
tangent of that step, is found by one pass forward. So nothing need go back to the parameters. Only where a mistake is
made at several places, one above the other, as at every turn of a loop, its effect goes back from each to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.program.primitive import SLOPE_STEP

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, Change, Reals


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

    def edge(self, number: int, k: int) -> Reals:
        """Returns the derivatives of a step by what its input k does alone, shape (directions, entries)."""
        if (number, k) not in self._edges:
            tangent = self.steps[number]
            if tangent is None or len(self.backward.inner(number)) > 1:
                tangent = self._alone(number, k)
            self._edges[number, k] = tangent
        return self._edges[number, k]

    def _alone(self, number: int, k: int) -> Reals:
        step, x = self.backward.steps[number], self.backward.x(number)
        own, found = self.steps[step.inputs[k]], np.zeros((self.count, np.size(self.backward.values[number])))
        d: list[Reals | None] = [None] * len(x)
        for row, tangent in enumerate(own if own is not None else ()):
            d[k] = SLOPE_STEP * tangent.reshape(np.shape(x[k]))
            found[row] = np.ravel(step.primitive.difference(x, d, **step.attributes)) / SLOPE_STEP
        return found

    def changes(self, changes: Sequence[Change]) -> Reals:
        """Returns by how much mistakes change the gradient along the directions, shape (mistakes, directions)."""
        return _Rows(self, changes).along()


class _Rows:
    """Mistakes that are followed together: each has a row of what it changes on the way back."""

    def __init__(self, tangents: Tangents, changes: Sequence[Change]) -> None:
        self.tangents, self.backward, self.changes = tangents, tangents.backward, changes
        #: The mistakes that are made at each step.
        self.places: dict[int, list[int]] = {}
        for row, change in enumerate(changes):
            for number in change.steps & self.backward.bars.keys():
                self.places.setdefault(number, []).append(row)
        self.leads = self.backward.leading_to(self.places)
        #: By how much the sensitivities of steps that lead to another place are off, row by row.
        self.off: dict[int, Reals] = {}
        self.found = np.zeros((len(changes), tangents.count))

    def along(self) -> Reals:
        """Goes from the last place back to the first, and returns what each mistake changes along the directions."""
        with np.errstate(all="ignore"):
            for number in range(max(self.places, default=-1), -1, -1):
                cut: dict[int, list[int]] = {}
                for row in self.places.get(number, ()):
                    self._make(row, number, cut)
                if number in self.off:
                    self._pass_on(number, cut)
        return self.found

    def _make(self, row: int, number: int, cut: dict[int, list[int]]) -> None:
        """Makes a mistake at a step; the edges along which nothing else goes back in its row are added to `cut`."""
        change, block = self.changes[row], self.changes[row].blocks.get(number)
        bars = self.backward.bars_with(self.off, row)
        up = bars(number)
        if block is not None:
            tangent = self.tangents.steps[number]
            if tangent is not None:
                self.found[row] -= tangent @ np.ravel(up)
            for source, back in block(bars, up):
                self._add(row, source, back)
        for k, source in self.backward.inner(number):
            rule = change.edges.get((number, k))
            if block is None and rule is None:
                continue
            cut.setdefault(k, []).append(row)
            if self.leads[source]:
                self._row(row, source)[...] -= self.backward.flow(number, k)
            if block is None and rule is not None:
                self.found[row] -= self.tangents.edge(number, k) @ np.ravel(up)
                changed = rule(bars, up)
                if changed is not None:
                    self._add(row, source, changed)

    def _pass_on(self, number: int, cut: dict[int, list[int]]) -> None:
        """Takes what is off at a step back to its inputs, in the rows in which that edge is as it should be."""
        for k, source in self.backward.inner(number):
            if self.leads[source]:
                going = self.off[number]
                if k in cut:
                    going = going.copy()
                    going[cut[k]] = 0.0
                back = self.backward.of_rows(number, k)(going)
                self.off[source] = self.off[source] + back if source in self.off else np.array(back)

    def _add(self, row: int, source: int, back: Reals) -> None:
        tangent = self.tangents.steps[source]
        if tangent is not None:
            self.found[row] += tangent @ np.ravel(back)
        if self.leads[source]:
            self._row(row, source)[...] += back

    def _row(self, row: int, source: int) -> Reals:
        if source not in self.off:
            self.off[source] = np.zeros((len(self.changes), *np.shape(self.backward.values[source])))
        return self.off[source][row, ...]
