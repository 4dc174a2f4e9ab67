"""Lists the routes, which are the sources of perturbations, and estimates what each of them costs.

A route is one parameter with every affine step that uses it (``incremental``), or the units of one affine step
(``units``). The engine goes through the program from the first step of the route on, and computes the steps that have a
difference.
"""

from __future__ import annotations

from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.engine import _loops
from gradcheck_fast.engine._program import NOTHING, ROUTE, TASK, UNIT, USE, CompiledProgram
from gradcheck_fast.engine.layout import PANEL, padded, structured
from gradcheck_fast.program.steps.elementwise import WORK

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.engine.rows import RowStep
    from gradcheck_fast.engine.tables import Tables

#: A block has this many pairs. Their 120 rows are a multiple of the 12 that the matrix kernel takes at a time, and fit
#: into the L2 cache up to widths of 1024. Wider layers have as many, or their matrices would be read too often.
BLOCK_PAIRS = 60
#: A block has fewer pairs if its slots would take more doubles than this (32 MiB).
MOST_BLOCK_DOUBLES = 4 * 1024 * 1024
#: A task has about this many blocks.
BLOCKS_PER_TASK = 4
#: A task has at least this many parameters. They are neighbours in a column, so that they use the same sample's tape
#: and the same row of the next matrix.
PARAMETERS_AT_ONCE = 8


class Tasks(NamedTuple):
    """The tasks of a method.

    Attributes
    ----------
    table : structured ndarray
        The tasks, as the compiled modules read them.
    work : ndarray of float64
        The estimated operations up to and including each task.
    most : float
        The estimated operations of the costliest task.
    chosen : ndarray of int, optional
        The chosen parameters, route after route; the tasks are ranges of these. If it is None, the tasks are ranges of
        all parameters or units of each route.
    """

    table: NDArray[np.void]
    work: NDArray[np.float64]
    most: float
    chosen: NDArray[np.intp] | None = None


class Routes:
    """The routes of one method over one program, and the tables in which the engine reads them.

    Attributes
    ----------
    by_units : bool
        Whether a route is the units of an affine step, or else a parameter.
    counts : list of int
        The number of parameters of each route, or of units per sample.
    work : list of float
        The estimated operations of one row of a block, for each route.
    gathering : float
        The estimated operations, per sample, of multiplying and adding up the units' sensitivities.
    scratch, numbers : int
        The doubles and the integers that a thread needs.
    """

    def __init__(self, tables: Tables, *, by_units: bool = False) -> None:
        self._tables, self._program = tables, tables.rows
        program = tables.rows
        self.by_units = by_units
        self._routes: list[dict[str, int]] = []
        self._uses: list[tuple[int, int]] = []
        self.counts: list[int] = []
        self.work: list[float] = []
        self.gathering = 0.0
        per_row = sum(tables.slots.widths)
        self._pairs = min(BLOCK_PAIRS, max(1, MOST_BLOCK_DOUBLES // max(2 * per_row, 1)))
        # in whole cache lines, so that no two threads share one
        most = 2 * _whole_panels(self._pairs)
        self.scratch = padded(tables.tape_stride + most * (_loops.VALUES_PER_PAIR + per_row))
        self.numbers = padded(most * _loops.NUMBERS_PER_PAIR + 2 * len(tables.slots.widths))
        dense = [self._dense_work(step) if n in program.needed else 0.0 for n, step in enumerate(program.steps)]
        self._dense_after = list(accumulate(reversed(dense), initial=0.0))[::-1]
        self._tasks: dict[int, Tasks] = {}

    @classmethod
    def of_units(cls, tables: Tables) -> Routes:
        """Makes one route for each affine step that has terms."""
        routes, program = cls(tables, by_units=True), tables.rows
        for step, offset in tables.unit_offsets.items():
            width = program.steps[step].width
            routes._add([(step, UNIT)], count=width, sensitivities=offset)
        routes.gathering = 2.0 * sum(term.parameter.size for _, term in program.terms)
        return routes

    @classmethod
    def of_parameters(cls, tables: Tables) -> Routes:
        """Makes one route for each parameter; every step that uses it is perturbed at once."""
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

    def compile(self, isa: str, rows: int = 2) -> CompiledProgram:
        """Returns the program with these routes, as the compiled modules run it on an instruction set.

        If pairs have one row in place of two, there are twice as many in a block.
        """
        pairs = self._pairs * 2 // rows
        return CompiledProgram(
            self._tables.steps,
            self._tables.terms,
            self._tables.packing.table,
            structured(ROUTE, self._routes),
            structured(USE, [{"step": step, "term": term} for step, term in self._uses]),
            self._tables.tape_stride,
            self._tables.slope_stride,
            len(self._tables.slots.widths),
            _whole_panels(pairs),
            pairs,
            rows,
            isa,
        )

    def tasks(self, samples: int, entries: NDArray[np.intp] | None = None) -> Tasks:
        """Cuts everything that is to be perturbed, for a number of samples, into tasks of a few blocks.

        With `entries`, places in the flat vector, only these parameters are perturbed.
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
        """Returns for each route which of its parameters are among some entries, as the engine counts them."""
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
        """Cuts a route of units into tasks: a range of columns for one sample after the other.

        The rows of the next matrix then stay in the cache.
        """
        tasks = []
        for begin in range(0, count, self._pairs):
            end = min(count, begin + self._pairs)
            several = max(1, BLOCKS_PER_TASK * self._pairs // (end - begin))
            tasks += [
                {"route": number, "begin": begin, "end": end, "first": first, "last": min(samples, first + several)}
                for first in range(0, samples, several)
            ]
        return structured(TASK, tasks)

    def _parameter_tasks(self, number: int, first: int, last: int, samples: int) -> NDArray[np.void]:
        """Cuts a route of a parameter into tasks: ranges that go down one column and then the next, for all samples."""
        several = max(PARAMETERS_AT_ONCE, BLOCKS_PER_TASK * self._pairs // samples)
        begins = np.arange(first, last, several)
        table = np.empty(len(begins), TASK)
        table["route"], table["first"], table["last"] = number, 0, samples
        table["begin"], table["end"] = begins, np.append(begins[1:], last)[: len(begins)]
        return table

    @cached_property
    def work_per_sample(self) -> float:
        """The estimated operations, per sample, of perturbing everything."""
        return self._work_of(self.counts)

    def work_of(self, entries: NDArray[np.intp]) -> float:
        """Estimates the operations, per sample, of perturbing some parameters."""
        return self._work_of([len(some) for some in self._chosen(entries)])

    def _work_of(self, counts: list[int]) -> float:
        perturbing = sum(2.0 * count * work for count, work in zip(counts, self.work, strict=True))
        return perturbing + self.gathering

    def _add(
        self, uses: list[tuple[int, int]], *, count: int, parameter: int = NOTHING, skip: int = NOTHING,
        sensitivities: int = 0,
    ) -> None:  # fmt: skip
        """Adds the route that perturbs these affine steps, each with the number of the perturbed term or UNIT."""
        self._routes.append(
            {
                "first_use": len(self._uses), "n_uses": len(uses), "parameter": parameter, "skip": skip,
                "sensitivities": sensitivities,
            }
        )  # fmt: skip
        self._uses += uses
        self.counts.append(count)
        self.work.append(self._work_from(uses[0][0]) if uses else 0.0)

    def _work_from(self, first: int) -> float:
        """Estimates the operations of one row that is perturbed in step `first`.

        The difference is a single column until it meets a matrix, and dense from there on.
        """
        columns, work = {first}, 0.0
        for number in range(first + 1, len(self._program.steps)):
            step = self._program.steps[number]
            if number not in self._program.needed or not columns.intersection(step.inputs):
                continue
            if step.is_affine:
                return work + 2.0 * step.width + self._dense_after[number + 1]
            if not step.stays_in_column:
                return work + self._dense_after[number]
            work += WORK
            columns.add(number)
        return work

    def _dense_work(self, step: RowStep) -> float:
        if step.is_affine:
            return 2.0 * sum(t.parameter.size for t in step.terms if t.step != NOTHING)
        return 0.0 if step.is_input else float(WORK * step.width)


def _whole_panels(count: int) -> int:
    return -(-count // PANEL) * PANEL
