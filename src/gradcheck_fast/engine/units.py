"""Perturbs units instead of parameters, in difference arithmetic: method ``units`` for any program.

A unit is an entry of a step that is linear in the parameters, such as a pre-activation; `units_cut` says where they
are. The cost is a sum of parts, such as one for each sample, and `units_samples` says which part a unit reaches. So one
unit of every part moves at once: how each part changes then tells them apart. The derivatives by the parameters follow
by transposes of the linear steps before the units. Nothing is chained through what comes after them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.engine.entries import ONE_SIDED_STEP, Entries, differences, differences_of_entries
from gradcheck_fast.engine.entries_batches import Batch, Estimate, batches
from gradcheck_fast.engine.entries_places import Change, Single
from gradcheck_fast.engine.units_samples import NONE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.engine.entries import Make
    from gradcheck_fast.engine.units_plan import Branch, UnitsPlan
    from gradcheck_fast.running.runner import Runner

    Reals = NDArray[np.float64]
    Index = NDArray[np.intp]


class Units(Entries):
    """The units of a branch of the cost, at some parameters: `Entries`, of which one of every part moves at once.

    Parameters
    ----------
    branch : Branch
    theta : ndarray of float64, shape (size,)
        The parameters of the program.
    wanted : ndarray of int, optional
        The units that are to be moved, in the order of the steps; None: all.
    sides : tuple of float
        As for `Entries`.
    """

    def __init__(
        self, branch: Branch, theta: Reals, wanted: Index | None = None, sides: tuple[float, ...] = ()
    ) -> None:
        self.branch = branch
        self.key = "units", *branch.weights
        self._ranks = {number: _ranks(own) for number, own in branch.cut.units.items()}
        super().__init__(branch.engine, theta, wanted, sides)

    def _size(self) -> int:
        return sum(len(own) for own in self.branch.cut.units.values())

    def _like(self) -> Make:
        return partial(Units, self.branch, self.theta)

    def _batches(self) -> Iterator[Batch]:
        begin, steps = 0, self.engine.program.steps
        for number, own in self.branch.cut.units.items():
            ranks, shape = self._ranks[number], steps[number].shape[1:]
            order = np.argsort(ranks, kind="stable")  # the units that move at once, one set after the other
            ends = np.searchsorted(ranks[order], np.arange(ranks.max(initial=-1) + 2))
            count = len(ends) - 1

            def units(sets: Index, order: Index = order, ends: Index = ends) -> Index:
                return np.concatenate([order[ends[each] : ends[each + 1]] for each in sets])

            marked, wanted = None, None
            if self.wanted is not None:
                marked = np.zeros(len(own), np.bool_)
                marked[self.wanted[(self.wanted >= begin) & (self.wanted < begin + len(own))] - begin] = True
                wanted = np.unique(ranks[marked & (own != NONE)])

            def estimate(sets: Index, number: int = number, units: Callable[[Index], Index] = units) -> Estimate:
                return self._estimate(number, len(self._ranks[number]), units(sets))

            shape = shape if math.prod(shape) == count else (count,)
            for batch in batches(number, shape, begin, wanted, len(self.sides), estimate):
                places = units(batch.places)
                yield batch._replace(places=places if marked is None else places[marked[places]])
            begin += len(own)

    def _rows(self, batch: Batch) -> tuple[Index, int]:
        """Returns which of the perturbations of a batch each of its units belongs to, and how many these are."""
        sets, rows = np.unique(self._ranks[batch.parameter][batch.places], return_inverse=True)
        return rows, len(sets)

    def _moved(self, batch: Batch, moves: Reals) -> Change | Single:
        rows, count = self._rows(batch)
        size = len(self._ranks[batch.parameter])
        index = np.sort(batch.places)
        places = self._book.every(size) if len(index) == size else self._book.some(size, index)
        values = np.zeros((len(moves), count, places.count))
        values[:, rows, places.numbers(batch.places)] = moves[:, np.newaxis]
        return Change(values.reshape(-1, places.count), places)

    def _totals(self, d: dict[int, Change | Single], batch: Batch, moves: Reals) -> Reals:
        rows, count = self._rows(batch)
        total = np.zeros((len(moves) * count, self.branch.parts))
        for number, change in d.items():
            size = math.prod(self.engine.program.steps[number].shape)
            if isinstance(change, Single):
                change = self._book.spread(change, size)
            index = np.arange(size) if change.places.index is None else change.places.index
            parts, begins = np.unique(index * self.branch.parts // size, return_index=True)
            weighted = change.values * change.places.of(self.branch.weights[number])
            total[:, parts] += np.add.reduceat(weighted, begins, axis=1)
        own = self.branch.cut.units[batch.parameter][batch.places]
        return total.reshape(len(moves), count, -1)[:, rows, own]


def _ranks(own: Index) -> Index:
    """Returns the number of each unit among those of its part of the cost; -1 if it reaches none."""
    order = np.argsort(own, kind="stable")
    _, begins, counts = np.unique(own[order], return_index=True, return_counts=True)
    ranks = np.empty(len(own), np.intp)
    ranks[order] = np.arange(len(own)) - np.repeat(begins, counts)
    ranks[own == NONE] = -1
    return ranks


def differences_of_units(plan: UnitsPlan, theta: Reals, runner: Runner) -> tuple[Reals, float]:
    """Finds the derivatives by the parameters by moving units, and the parameters that have none one by one.

    Returns
    -------
    gradient : ndarray of float64, shape (size,)
    step : float
        The first step.
    """
    gradient, step = np.zeros(plan.engine.program.size), ONE_SIDED_STEP
    for number, part in runner.series(("units", theta), len(plan.branches), (gradient,)):
        branch = plan.branches[number]
        slopes, step = differences(partial(Units, branch, theta), part)
        gradient += _of_parameters(branch, theta, slopes)
    if len(plan.alone):
        found, step = differences_of_entries(plan.engine, theta, runner, plan.alone)
        gradient[plan.alone] = found[plan.alone]
    return gradient, step


def _of_parameters(branch: Branch, theta: Reals, slopes: Reals) -> Reals:
    """Returns the derivatives by the parameters, given those by the units, by transposes of the steps before."""
    program = branch.engine.program
    with branch.engine.at(theta, 1) as point:
        values = point.values
    ends = np.cumsum([len(own) for own in branch.cut.units.values()])[:-1]
    up = {
        number: each.reshape(program.steps[number].shape)
        for number, each in zip(branch.cut.units, np.split(slopes, ends), strict=True)
    }
    with np.errstate(all="ignore"):
        for number, followed in reversed(branch.cut.before):
            step = program.steps[number]
            for k in followed if number in up else ():
                back = step.primitive.back([values[j] for j in step.inputs], k, up[number], **step.attributes)
                source = step.inputs[k]
                up[source] = up[source] + back if source in up else back
    gradient = np.zeros(program.size)
    for number, array in program.arrays(gradient).items():
        if number in up:
            array[...] = up[number]
    return gradient
