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
    steps : list of ndarray or None
        The tangents of each step, of shape (directions, entries); None for a step that does not change.
    """

    def __init__(self, backward: Backward, directions: Reals) -> None:
        self.backward, self._count = backward, len(directions)
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
        own, found = self.steps[step.inputs[k]], np.zeros((self._count, np.size(self.backward.values[number])))
        d: list[Reals | None] = [None] * len(x)
        for row, tangent in enumerate(own if own is not None else ()):
            d[k] = SLOPE_STEP * tangent.reshape(np.shape(x[k]))
            found[row] = np.ravel(step.primitive.difference(x, d, **step.attributes)) / SLOPE_STEP
        return found

    def changes(self, changes: Sequence[Change]) -> Reals:
        """Returns by how much mistakes change the gradient along the directions, shape (mistakes, directions)."""
        backward, count, steps = self.backward, len(changes), self.steps
        found = np.zeros((count, self._count))
        off: dict[int, Reals] = {}
        places: dict[int, list[int]] = {}
        for row, change in enumerate(changes):
            for number in change.steps & backward.bars.keys():
                places.setdefault(number, []).append(row)
        leads = backward.leading_to(places)

        def row_of(row: int, source: int) -> Reals:
            if source not in off:
                off[source] = np.zeros((count, *np.shape(backward.values[source])))
            return off[source][row, ...]

        def add(row: int, source: int, back: Reals) -> None:
            tangent = steps[source]
            if tangent is not None:
                found[row] += tangent @ np.ravel(back)
            if leads[source]:
                row_of(row, source)[...] += back

        with np.errstate(all="ignore"):
            for number in range(max(places, default=-1), -1, -1):
                own, inner = off.get(number), backward.inner(number)
                cut: dict[int, list[int]] = {k: [] for k, _ in inner}
                for row in places.get(number, ()):
                    edges, block = changes[row].edges, changes[row].blocks.get(number)
                    up = backward.bars[number] if own is None else backward.bars[number] + own[row]
                    bars = backward.bars_with(off, row)
                    if block is not None:
                        tangent = steps[number]
                        if tangent is not None:
                            found[row] -= tangent @ np.ravel(up)
                        for source, back in block(bars, up):
                            add(row, source, back)
                    for k, source in inner:
                        rule = edges.get((number, k))
                        if block is None and rule is None:
                            continue
                        cut[k].append(row)
                        if leads[source]:
                            row_of(row, source)[...] -= backward.flow(number, k)
                        if block is None and rule is not None:
                            found[row] -= self.edge(number, k) @ np.ravel(up)
                            changed = rule(bars, up)
                            if changed is not None:
                                add(row, source, changed)
                for k, source in inner if own is not None else ():
                    if leads[source]:
                        going = own
                        if cut[k] and own is not None:
                            going = own.copy()
                            going[cut[k]] = 0.0
                        back = backward.of_rows(number, k)(going)
                        off[source] = off[source] + back if source in off else np.array(back)
        return found
