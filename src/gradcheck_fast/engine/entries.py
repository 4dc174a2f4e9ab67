"""Perturbs every parameter of any program by itself, in difference arithmetic.

No two values are subtracted, and nothing is chained: each step computes by how much it changes, from by how much its
inputs do. What does not change is not computed. Many perturbations are run side by side, as rows of arrays.

An entry moves by +h and by -h where kinks leave slopes open. Elsewhere one row is enough: the difference to one side
is E' h + E'' h²/2 + …, and h may be so small that all but E' is far below rounding, because exact differences lose
nothing to cancellation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gradcheck_fast.engine.entries_batches import Batch, Estimate, batches
from gradcheck_fast.engine.entries_places import Book, Change, Single
from gradcheck_fast.engine.entries_rules import OfSingle, Planner, kind_of
from gradcheck_fast.engine.entries_step import BoundStep, Plan
from gradcheck_fast.engine.open_slopes import may_jump, spreads
from gradcheck_fast.engine.rules import UNDEFINED
from gradcheck_fast.numerical.gradient import CHAIN_STEPS, NEAR_KINK
from gradcheck_fast.program.primitive import smooth
from gradcheck_fast.program.twin import on_parameters
from gradcheck_fast.running.jobs import Job
from gradcheck_fast.running.threads import limited, resolve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.engine.entries_places import Index, Places
    from gradcheck_fast.engine.rules import RulesEngine, RulesPoint
    from gradcheck_fast.running.runner import Runner

    Reals = NDArray[np.float64]

#: The number of a step, its inputs, itself, and the steps that no later one reads.
Row: TypeAlias = tuple[int, tuple[int, ...], BoundStep, list[int]]
Key: TypeAlias = "tuple[int, tuple[Places | None, ...]]"
#: Makes entries of those that are wanted, and of the sides.
Make: TypeAlias = "Callable[..., Entries]"

#: What is known of places is forgotten once it takes this many numbers, or so many times those of all steps.
MOST_KEPT, KEPT_OF_STEPS = 2**23, 4
#: How an entry is moved, in units of the step, where values lie on kinks.
BOTH_SIDES = (1.0, -1.0)
#: The step to one side. That of log p is then right to rounding for all p that are not below 1e-24.
ONE_SIDED_STEP = CHAIN_STEPS[1]
#: A slope that is smaller may be nothing but the truncation of a difference to one side.
TINY = 2.0**-60


class Stopped(Exception):
    """The work of a thread is not wanted any more."""


class Entries:
    """A program at some parameters, of which single entries are moved. Several threads may use it at once.

    Parameters
    ----------
    engine : RulesEngine
    theta : ndarray of float64, shape (size,)
        The parameters.
    wanted : ndarray of int, optional
        The entries that are to be moved; None: all.
    sides : tuple of float
        How each entry is moved, in units of the step; by default to both sides if kinks leave any slope open, or if
        values are subtracted.

    Attributes
    ----------
    batches : list of Batch
    size : int
        How many entries there are.
    key : tuple
        What tells them from others.
    """

    key: tuple[str | int, ...] = ("entries",)

    def __init__(
        self, engine: RulesEngine, theta: Reals, wanted: Index | None = None, sides: tuple[float, ...] = ()
    ) -> None:
        self.engine, self.theta, self.wanted = engine, theta, wanted
        self.size = self._size()
        program, self._book = engine.program, Book()
        with engine.at(theta, 1) as point:
            values = point.values
            margins = {number for number, _ in point.margins()}
            self.sides = sides or (BOTH_SIDES if _has_open_slopes(point) or not engine.is_exact else BOTH_SIDES[:1])
        depends, steps = on_parameters(program), program.steps
        moved = [number for number in engine.computed if number in depends]
        last = {source: number for number in moved for source in steps[number].inputs}
        costs = [number for number in program.costs if number in depends]
        self._costs = costs
        self._steps: list[Row] = []
        self._kinds: dict[int, tuple[Planner, OfSingle | None]] = {}
        for number in moved:
            step = steps[number]
            may_stop = number in margins or (step.primitive.kinks is not smooth and step.name in _MAY_STOP)
            bound = BoundStep(step, [values[k] for k in step.inputs], self._book, engine.isa, may_stop)
            over = [k for k in set(step.inputs) if last[k] == number and k in depends and k not in costs]
            self._kinds[number] = kind_of(bound)
            self._steps.append((number, step.inputs, bound, over))
        self._plans: dict[Key, Plan | None] = {}
        self._reached: dict[int, list[Row]] = {}
        self._most_kept = max(MOST_KEPT, KEPT_OF_STEPS * sum(step.size for _, _, step, _ in self._steps))
        self._stopped = Event()
        with np.errstate(all="ignore"):
            self.batches = list(self._batches())

    def _size(self) -> int:
        return self.engine.program.size

    def _like(self) -> Make:
        """Returns what makes others at the same parameters."""
        return partial(Entries, self.engine, self.theta)

    def _batches(self) -> Iterator[Batch]:
        begin, steps = 0, self.engine.program.steps
        for number in self.engine.program.parameters:
            shape = steps[number].shape
            end = begin + math.prod(shape)
            wanted = None
            if self.wanted is not None:
                wanted = self.wanted[(self.wanted >= begin) & (self.wanted < end)] - begin
            estimate = partial(self._estimate, number, end - begin)
            yield from batches(number, shape, begin, wanted, len(self.sides), estimate)
            begin = end

    def _estimate(self, parameter: int, size: int, group: Index) -> Estimate:
        """Plans what the entries of a group reach, without any values."""
        index = np.sort(group)
        forms: dict[int, Places] = {
            parameter: self._book.every(size) if len(index) == size else self._book.some(size, index)
        }
        count, largest, work = 0, 1, 0.0
        for number, inputs, step, _ in self._steps_of(parameter):
            own = tuple(forms.get(k) for k in inputs)
            if all(form is None for form in own):
                continue
            plan = self._plan(number, step, own)
            if plan is not None:
                forms[number] = plan.places
                count, largest, work = count + 1, max(largest, plan.places.count), work + plan.work
        return Estimate(count, largest, work)

    def _steps_of(self, parameter: int) -> list[Row]:
        """Returns the steps that depend on one parameter."""
        if parameter not in self._reached:
            depends, found = {parameter}, list[Row]()
            for row in self._steps:
                if not depends.isdisjoint(row[1]):
                    depends.add(row[0])
                    found.append(row)
            self._reached[parameter] = found
        return self._reached[parameter]

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
        if self._book.kept > self._most_kept:
            self._plans.clear()
            self._book.forget()
        d: dict[int, Change | Single] = {batch.parameter: self._moved(batch, moves)}
        with np.errstate(all="ignore"):
            for number, inputs, step, over in self._steps_of(batch.parameter):
                if self._stopped.is_set():
                    raise Stopped
                own = [d.get(k) for k in inputs]
                moved = [k for k, change in enumerate(own) if change is not None]
                if moved:
                    found = self._change(number, step, own, moved)
                    if found is not None:
                        d[number] = found
                    for k in over:
                        d.pop(k, None)
            return self._totals({k: d[k] for k in self._costs if k in d}, batch, moves)

    def _moved(self, batch: Batch, moves: Reals) -> Change | Single:
        """Returns the change of the array of a batch, whose perturbations are those of each move in turn."""
        return Single(np.repeat(moves, len(batch.places)), np.tile(batch.places, len(moves)))

    def _totals(self, d: dict[int, Change | Single], batch: Batch, moves: Reals) -> Reals:
        """Returns what `changes` does, of the changes of the cost steps."""
        total = np.zeros(len(moves) * len(batch.places))
        for change in d.values():
            total += change.values if isinstance(change, Single) else change.values.sum(axis=1)
        return total.reshape(len(moves), len(batch.places))

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
        """Returns the slopes by the entries of a batch, given by its number; NaN if a rule fails."""
        batch = self.batches[number]
        try:
            changes = self.changes(batch, h * np.array(self.sides))
        except UNDEFINED:
            return np.full(len(batch.places), np.nan)
        found: Reals = changes[0] / h if len(changes) == 1 else (changes[0] - changes[1]) / (2.0 * h)
        return found

    @contextmanager
    def workers(self, n_threads: int) -> Iterator[Callable[[Callable[[int], Reals], range], list[Reals]]]:
        """A context that gives a function which applies another one to numbers, on some threads.

        They share the work by batches, so that BLAS has one thread. If the context is left by an error, they stop
        after the step that they are at.
        """
        with limited(1):
            if n_threads == 1:
                yield lambda function, numbers: list(map(function, numbers))
                return
            with ThreadPoolExecutor(n_threads) as pool:
                try:
                    yield lambda function, numbers: list(pool.map(function, numbers))
                except BaseException:
                    self._stopped.set()
                    raise

    def gradient(self, h: float, runner: Runner) -> Reals:
        """Returns the slopes by the wanted entries with the step h, at their places; the others are 0."""
        gradient = np.zeros(self.size)
        every = np.arange(gradient.size) if self.wanted is None else self.wanted
        with self.workers(runner.n_threads) as each:

            def put(begin: int, end: int, found: list[Reals]) -> None:
                for batch, slopes in zip(self.batches[begin:end], found, strict=True):
                    gradient[batch.entries] = slopes

            runner.run(
                Job(
                    (*self.key, self.theta, h, every, *self.sides), len(self.batches), (gradient,),
                    lambda begin, end: put(begin, end, each(partial(self.slopes, h=h), range(begin, end))),
                    partial(_share, self._like(), self.wanted, self.sides, h, runner.n_threads), put,
                    smallest=runner.n_threads, work=np.cumsum([batch.work for batch in self.batches]),
                )
            )  # fmt: skip
        return gradient


def differences_of_entries(
    engine: RulesEngine, theta: Reals, runner: Runner, wanted: Index | None = None
) -> tuple[Reals, float]:
    """Finds the derivatives by moving each entry alone; see `differences`."""
    return differences(partial(Entries, engine, theta), runner, wanted)


def differences(make: Make, runner: Runner, wanted: Index | None = None) -> tuple[Reals, float]:
    """Finds the derivatives by what is moved.

    Where the cost is then not finite, it is moved less. Where it is moved to one side, and the slope is so small that
    it may be nothing but truncation, it is moved to both sides.

    Parameters
    ----------
    make : callable
        ``make(wanted, sides)`` returns `Entries`.
    runner : Runner
    wanted : ndarray of int, optional
        The entries that are moved; None: all. The others get 0.

    Returns
    -------
    gradient : ndarray of float64
        One number for each entry.
    step : float
        The first step.
    """
    entries = make(wanted)
    if len(entries.sides) == 1:
        gradient = entries.gradient(ONE_SIDED_STEP, runner)
        tiny = np.flatnonzero((np.abs(gradient) < TINY) & (gradient != 0.0))
        if len(tiny):
            both = make(tiny, BOTH_SIDES)
            gradient[tiny] = both.gradient(ONE_SIDED_STEP, runner.quietly())[tiny]
        return gradient, ONE_SIDED_STEP
    engine = entries.engine
    steps = CHAIN_STEPS if engine.is_exact else (engine.smallest_step,)
    gradient = entries.gradient(steps[0], runner)
    for step in steps[1:]:
        missing = np.flatnonzero(~np.isfinite(gradient))
        if not len(missing):
            break
        gradient[missing] = make(missing).gradient(step, runner)[missing]
    return gradient, steps[0]


def _has_open_slopes(point: RulesPoint) -> bool:
    """Whether slopes to both sides may differ: values lie on kinks, and what these change goes on to the cost."""
    if not point.kinks(NEAR_KINK):
        return False
    return may_jump(point.engine) or bool(spreads(point).by_parameter.any())


#: The functions whose slope is 0 beyond a kink or between jumps: changes often end there.
_MAY_STOP = frozenset(
    ["relu", "hardtanh", "relu6", "maximum", "minimum", "max", "min", "greater", "greater_equal", "less", "less_equal",
     "equal", "not_equal", "sign", "floor", "ceil", "trunc", "rint"]
)  # fmt: skip


def _share(
    make: Make, wanted: Index | None, sides: tuple[float, ...], h: float, n_threads: int, begin: int, end: int
) -> list[Reals]:
    """Returns what some batches give; another process calls this."""
    entries = make(wanted, sides)
    with entries.workers(resolve(n_threads)) as each:
        return each(partial(entries.slopes, h=h), range(begin, end))
