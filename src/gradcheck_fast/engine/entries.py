"""Perturbs every parameter of any program by itself, by +h and -h, in difference arithmetic.

No two values are subtracted, and nothing is chained: each step computes by how much it changes, from by how much its
inputs do. What does not change is not computed. Many perturbations are run side by side, as rows of arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gradcheck_fast.engine.entries_batches import Batch, Estimate, batches
from gradcheck_fast.engine.entries_places import MOST_KEPT, Book, Change, Single
from gradcheck_fast.engine.entries_rules import OfSingle, Planner, kind_of
from gradcheck_fast.engine.entries_step import BoundStep, Plan
from gradcheck_fast.engine.rules import UNDEFINED
from gradcheck_fast.program.primitive import smooth
from gradcheck_fast.program.twin import on_parameters
from gradcheck_fast.running.jobs import Job
from gradcheck_fast.running.threads import limited, resolve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.engine.entries_places import Index, Places
    from gradcheck_fast.engine.rules import RulesEngine
    from gradcheck_fast.running.runner import Runner

    Reals = NDArray[np.float64]

Key: TypeAlias = "tuple[int, tuple[Places | None, ...]]"

#: How each entry is moved, in units of the step.
SIGNS = (1.0, -1.0)


class Entries:
    """A program at some parameters, of which single entries are moved. Several threads may use it at once.

    Parameters
    ----------
    engine : RulesEngine
    theta : ndarray of float64, shape (size,)
        The parameters.
    wanted : ndarray of int, optional
        The entries that are to be moved; None: all.
    """

    def __init__(self, engine: RulesEngine, theta: Reals, wanted: Index | None = None) -> None:
        self.engine, self.theta, self.wanted = engine, theta, wanted
        program, self._book = engine.program, Book()
        with engine.at(theta, 1) as point:
            values = point.values
            kinked = {number for number, _ in point.margins()}
        depends, steps = on_parameters(program), program.steps
        moved = [number for number in engine.computed if number in depends]
        last = {source: number for number in moved for source in steps[number].inputs}
        costs = [number for number in program.costs if number in depends]
        self._costs = costs
        self._steps: list[tuple[int, tuple[int, ...], BoundStep, list[int]]] = []
        self._kinds: dict[int, tuple[Planner, OfSingle | None]] = {}
        for number in moved:
            step = steps[number]
            may_stop = number in kinked or (step.primitive.kinks is not smooth and step.name in _MAY_STOP)
            bound = BoundStep(step, [values[k] for k in step.inputs], self._book, engine.isa, may_stop)
            over = [k for k in set(step.inputs) if last[k] == number and k in depends and k not in costs]
            self._kinds[number] = kind_of(bound)
            self._steps.append((number, step.inputs, bound, over))
        self._plans: dict[Key, Plan | None] = {}
        self.batches = list(self._batches())

    def _batches(self) -> Iterator[Batch]:
        begin, steps = 0, self.engine.program.steps
        for number in self.engine.program.parameters:
            shape = steps[number].shape
            end = begin + math.prod(shape)
            wanted = None
            if self.wanted is not None:
                wanted = self.wanted[(self.wanted >= begin) & (self.wanted < end)] - begin
            yield from batches(number, shape, begin, wanted, len(SIGNS), partial(self._estimate, number, end - begin))
            begin = end

    def _estimate(self, parameter: int, size: int, group: Index) -> Estimate:
        """Plans what the entries of a group reach, without any values."""
        index = np.sort(group)
        forms: dict[int, Places] = {
            parameter: self._book.every(size) if len(index) == size else self._book.some(size, index)
        }
        count, largest, work = 0, 1, 0.0
        for number, inputs, step, _ in self._steps:
            own = tuple(forms.get(k) for k in inputs)
            if all(form is None for form in own):
                continue
            plan = self._plan(number, step, own)
            if plan is not None:
                forms[number] = plan.places
                count, largest, work = count + 1, max(largest, plan.places.count), work + plan.work
        return Estimate(count, largest, work)

    def _plan(self, number: int, step: BoundStep, forms: tuple[Places | None, ...]) -> Plan | None:
        key = number, forms
        try:
            return self._plans[key]
        except KeyError:
            plan = self._plans[key] = self._kinds[number][0](step, forms)
            return plan

    def changes(self, batch: Batch, moves: Reals) -> Reals:
        """Returns by how much the cost changes when each entry of a batch moves by each of some numbers.

        Parameters
        ----------
        batch : Batch
        moves : ndarray of float64, shape (moves,)

        Returns
        -------
        ndarray of float64, shape (moves, entries)
        """
        if self._book.kept > MOST_KEPT:
            self._plans.clear()
            self._book.forget()
        rows = len(moves) * len(batch.index)
        start = Single(np.repeat(moves, len(batch.index)), np.tile(batch.index, len(moves)))
        d: dict[int, Change | Single] = {batch.parameter: start}
        with np.errstate(all="ignore"):
            for number, inputs, step, over in self._steps:
                own = [d.get(k) for k in inputs]
                moved = [k for k, change in enumerate(own) if change is not None]
                if moved:
                    found = self._change(number, step, own, moved)
                    if found is not None:
                        d[number] = found
                    for k in over:
                        d.pop(k, None)
            total = np.zeros(rows)
            for number in self._costs:
                change = d.get(number)
                if change is not None:
                    total += change.values if isinstance(change, Single) else change.values.sum(axis=1)
        return total.reshape(len(moves), len(batch.index))

    def _change(
        self, number: int, step: BoundStep, d: list[Change | Single | None], moved: list[int]
    ) -> Change | Single | None:
        first, of_single = d[moved[0]], self._kinds[number][1]
        if len(moved) == 1 and isinstance(first, Single) and of_single is not None:
            single = of_single(step, moved[0], first)
            if single is not None:
                return single
        forms, values = list[Any](), list[Any]()
        for k, change in enumerate(d):
            if isinstance(change, Single):
                change = self._book.spread(change, math.prod(step.shapes[k]))
            forms.append(None if change is None else change.places)
            values.append(None if change is None else change.values)
        plan = self._plan(number, step, tuple(forms))
        if plan is None:
            return None
        found = plan.run(values)
        return None if step.may_stop and not found.any() else Change(found, plan.places)

    def slopes(self, number: int, h: float) -> Reals:
        """Returns the central differences of the entries of a batch, given by its number; NaN if a rule fails."""
        batch = self.batches[number]
        try:
            plus, minus = self.changes(batch, h * np.array(SIGNS))
        except UNDEFINED:
            return np.full(len(batch.index), np.nan)
        return (plus - minus) / (2.0 * h)

    def gradient(self, h: float, runner: Runner) -> Reals:
        """Returns the central differences of the wanted entries with the step h, at their places; others are 0."""
        gradient = np.zeros(self.engine.program.size)
        every = np.arange(gradient.size) if self.wanted is None else self.wanted
        with _workers(runner.n_threads) as each, limited(1):

            def put(begin: int, end: int, found: list[Reals]) -> None:
                for batch, slopes in zip(self.batches[begin:end], found, strict=True):
                    gradient[batch.entries] = slopes

            runner.run(
                Job(
                    ("entries", self.theta, h, every), len(self.batches), (gradient,),
                    lambda begin, end: put(begin, end, each(partial(self.slopes, h=h), range(begin, end))),
                    partial(_share, self.engine, self.theta, self.wanted, h, runner.n_threads), put,
                    smallest=runner.n_threads, work=np.cumsum([batch.work for batch in self.batches]),
                )
            )  # fmt: skip
        return gradient


#: The functions whose slope is 0 beyond a kink or between jumps: changes often end there.
_MAY_STOP = frozenset(
    ["relu", "hardtanh", "relu6", "maximum", "minimum", "max", "min", "greater", "greater_equal", "less", "less_equal",
     "equal", "not_equal", "sign", "floor", "ceil", "trunc", "rint"]
)  # fmt: skip


def _share(
    engine: RulesEngine, theta: Reals, wanted: Index | None, h: float, n_threads: int, begin: int, end: int
) -> list[Reals]:
    """Returns what some batches give; another process calls this."""
    entries = Entries(engine, theta, wanted)
    with _workers(resolve(n_threads)) as each, limited(1):
        return each(partial(entries.slopes, h=h), range(begin, end))


@contextmanager
def _workers(n_threads: int) -> Iterator[Callable[[Callable[[int], Reals], range], list[Reals]]]:
    """A context that gives a function which applies another one to numbers, on some threads."""
    if n_threads == 1:
        yield lambda function, numbers: list(map(function, numbers))
        return
    stopped = Event()

    def each(function: Callable[[int], Reals], numbers: range) -> list[Reals]:
        def one(number: int) -> Reals:
            return np.zeros(0) if stopped.is_set() else function(number)

        return list(pool.map(one, numbers))

    with ThreadPoolExecutor(n_threads) as pool:
        try:
            yield each
        except BaseException:
            stopped.set()
            raise
