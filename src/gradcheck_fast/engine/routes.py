"""Routes: the sources of perturbations, and what each costs.

A route is one parameter (``incremental``), with every affine step that uses it; or the units of one affine step
(``units``). From its first step on the engine goes through the program, and computes what has a difference.
"""

from __future__ import annotations

from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.engine import _loops
from gradcheck_fast.engine._program import NOTHING, ROUTE, TASK, UNIT, USE, CompiledProgram
from gradcheck_fast.engine.layout import PANEL, padded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.engine.rows import RowStep
    from gradcheck_fast.engine.tables import Tables

#: Pairs in a block: twice as many rows, which fill the matrix kernel's 12 rows at a time, and fit into the L2 cache up
#: to widths of 1024; no fewer for wider layers, whose matrices would be read too often.
BLOCK_PAIRS = 60
#: Doubles that the slots of a block may take at most (32 MiB), unless sixteen pairs take more.
MOST_BLOCK_DOUBLES = 4 * 1024 * 1024
#: Blocks in a task.
BLOCKS_PER_TASK = 4
#: Parameters in a task, at least: neighbours in a column, that use the same sample's tape and the same matrix row.
PARAMETERS_AT_ONCE = 8

#: Estimated operations per entry, beside the two of each multiply-add: what a difference of an elementwise step costs.
WORK_ELEMENTWISE = 30


class Tasks(NamedTuple):
    """Tasks for the engine.

    Attributes
    ----------
    table : ndarray
    work : ndarray
        The estimated operations up to and including each.
    most : float
        Those of the costliest.
    chosen : ndarray of int, optional
        The parameters, route after route, of which the tasks are ranges; None: all of each route.
    """

    table: NDArray[np.void]
    work: NDArray[np.float64]
    most: float
    chosen: NDArray[np.intp] | None = None


class Routes:
    """The routes of one method over one program, and the tables in which the engine reads them."""

    def __init__(self, tables: Tables, *, by_units: bool = False) -> None:
        self._tables, self._program = tables, tables.rows
        program = tables.rows
        self.by_units = by_units
        self._routes: list[tuple[int, ...]] = []
        self._uses: list[tuple[int, int]] = []
        self.counts: list[int] = []  #: parameters of each route, or units per sample
        self.work: list[float] = []  #: estimated operations of one row
        self.gathering = 0.0  #: estimated operations, per sample, of adding up the units' sensitivities
        per_pair = 2 * sum(tables.slots.widths)
        self._pairs = min(BLOCK_PAIRS, max(1, MOST_BLOCK_DOUBLES // max(per_pair, 1)))
        self._capacity = -(-self._pairs // PANEL) * PANEL
        # doubles and integers that a thread needs; whole cache lines, so that threads do not share one
        self.scratch = padded(tables.tape_stride + self._capacity * (_loops.VALUES_PER_PAIR + per_pair))
        self.numbers = padded(self._capacity * _loops.NUMBERS_PER_PAIR + 2 * len(tables.slots.widths))
        dense = [self._dense_work(step) if n in program.needed else 0.0 for n, step in enumerate(program.steps)]
        self._dense_after = list(accumulate(reversed(dense), initial=0.0))[::-1]
        self._tasks: dict[int, Tasks] = {}

    @classmethod
    def of_units(cls, tables: Tables) -> Routes:
        """One route per affine step."""
        routes, program = cls(tables, by_units=True), tables.rows
        for step, offset in tables.unit_offsets.items():
            width = program.steps[step].width
            routes._add([(step, UNIT)], count=width, sensitivities=offset)
        routes.gathering = 2.0 * sum(term.parameter.size for _, term in program.terms)
        return routes

    @classmethod
    def of_parameters(cls, tables: Tables) -> Routes:
        """One route per parameter; every step that uses it is perturbed at once."""
        routes, program = cls(tables), tables.rows
        uses: dict[object, list[tuple[int, int]]] = {p: [] for p in program.parameters}
        for number, (step, term) in enumerate(program.terms):
            uses[term.parameter].append((step, number))
        for p in program.parameters:
            only = uses[p][0][1] if len(uses[p]) == 1 else NOTHING
            routes._add(
                uses[p],
                count=p.size,
                parameter=p.number,
                skip=only if only != NOTHING and program.terms[only][1].step != NOTHING else NOTHING,
            )
        return routes

    def compile(self, isa: str) -> CompiledProgram:
        """The program with these routes, as the engine runs them on an instruction set."""
        return CompiledProgram(
            self._tables.steps,
            self._tables.terms,
            self._tables.packing.table,
            np.array(self._routes, ROUTE),
            np.array(self._uses, USE),
            self._tables.tape_stride,
            len(self._tables.slots.widths),
            self._capacity,
            self._pairs,
            isa,
        )

    def tasks(self, samples: int, entries: NDArray[np.intp] | None = None) -> Tasks:
        """Everything that is to be perturbed for a number of samples, cut into tasks of some blocks.

        With `entries`, numbers of the flat vector, it is these parameters.
        """
        if entries is not None:
            chosen = self._chosen(entries)
            ends = np.cumsum([0, *map(len, chosen)]).tolist()
            tables = [self._parameter_tasks(n, ends[n], ends[n + 1], samples) for n in range(len(chosen))]
            return self._as_tasks(tables)._replace(chosen=np.concatenate(chosen))
        if samples not in self._tasks:
            routes = enumerate(self.counts)
            if self.by_units:
                tables = [self._unit_tasks(number, count, samples) for number, count in routes]
            else:
                tables = [self._parameter_tasks(number, 0, count, samples) for number, count in routes]
            self._tasks[samples] = self._as_tasks(tables)
        return self._tasks[samples]

    def _chosen(self, entries: NDArray[np.intp]) -> list[NDArray[np.intp]]:
        """Which parameters of each route some entries are, in the order in which the engine counts them."""
        chosen = []
        for p in self._program.parameters:
            row, column = np.divmod(entries - p.array.offset, p.array.columns)
            i, j = row - p.row, column - p.column
            chosen.append(np.sort((j * p.rows + i)[(i >= 0) & (i < p.rows) & (j >= 0) & (j < p.columns)]))
        return chosen

    def _as_tasks(self, tables: list[NDArray[np.void]]) -> Tasks:
        table = np.concatenate([np.empty(0, TASK), *tables])
        pairs = (table["end"] - table["begin"]) * (table["last"] - table["first"])
        work = 2.0 * (np.array(self.work)[table["route"]] + 1.0) * pairs
        return Tasks(table, np.cumsum(work), float(work.max(initial=1.0)))

    def _unit_tasks(self, number: int, count: int, samples: int) -> NDArray[np.void]:
        """A block of columns for one sample after the other: the rows of the next matrix then stay in the cache."""
        tasks = []
        for begin in range(0, count, self._pairs):
            end = min(count, begin + self._pairs)
            several = max(1, BLOCKS_PER_TASK * self._pairs // (end - begin))
            tasks += [
                (number, begin, end, first, min(samples, first + several)) for first in range(0, samples, several)
            ]
        return np.array(tasks, TASK)

    def _parameter_tasks(self, number: int, first: int, last: int, samples: int) -> NDArray[np.void]:
        """Some parameters, down one column and then the next, each for all samples."""
        several = max(PARAMETERS_AT_ONCE, BLOCKS_PER_TASK * self._pairs // samples)
        begins = np.arange(first, last, several)
        table = np.empty(len(begins), TASK)
        table["route"], table["first"], table["last"] = number, 0, samples
        table["begin"], table["end"] = begins, np.append(begins[1:], last)[: len(begins)]
        return table

    @cached_property
    def work_per_sample(self) -> float:
        """Estimated operations of everything."""
        return self._work_of(self.counts)

    def work_of(self, entries: NDArray[np.intp]) -> float:
        """Estimated operations of some parameters, per sample."""
        return self._work_of([len(some) for some in self._chosen(entries)])

    def _work_of(self, counts: list[int]) -> float:
        perturbing = sum(2.0 * count * work for count, work in zip(counts, self.work, strict=True))
        return perturbing + self.gathering

    def _add(
        self, uses: list[tuple[int, int]], *, count: int, parameter: int = NOTHING, skip: int = NOTHING,
        sensitivities: int = 0,
    ) -> None:  # fmt: skip
        """The route that perturbs these affine steps, each with the number of the perturbed term or UNIT."""
        self._routes.append((len(self._uses), len(uses), parameter, skip, sensitivities))
        self._uses += uses
        self.counts.append(count)
        self.work.append(self._work_from(uses[0][0]) if uses else 0.0)

    def _work_from(self, first: int) -> float:
        """Estimated operations of one row that is perturbed in step `first`: a column, until it meets a matrix."""
        columns, work = {first}, 0.0
        for number in range(first + 1, len(self._program.steps)):
            step = self._program.steps[number]
            if number not in self._program.needed or not columns.intersection(step.inputs):
                continue
            if step.is_affine:
                return work + 2.0 * step.width + self._dense_after[number + 1]
            if not step.stays_in_column:
                return work + self._dense_after[number]
            work += WORK_ELEMENTWISE
            columns.add(number)
        return work

    def _dense_work(self, step: RowStep) -> float:
        if step.is_affine:
            return 2.0 * sum(t.parameter.size for t in step.terms if t.step != NOTHING)
        return 0.0 if step.is_input else float(WORK_ELEMENTWISE * step.width)
