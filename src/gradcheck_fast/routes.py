"""Routes: the sources of perturbations, and what each costs.

A route is one parameter array (``incremental``), with every affine step that uses it; or the units of one affine step
(``units``). From its first step on the engine goes through the program, and computes what has a difference.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from . import _engine, _program
from ._program import Kind
from .program import NOTHING, integers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .program import Program, Step

UNIT = -2

#: Doubles that the slots of one block of rows may take: small enough to stay in a core's L2 cache.
BLOCK_DOUBLES = 64 * 1024
#: Rows of a block come in multiples of this (what the matrix kernel takes at once, twice; whole cache lines).
ROW_MULTIPLE = 24
MAX_ROWS = 10 * ROW_MULTIPLE

# These mirror the structs of _program.pxd and _engine.pyx, field for field.
ROUTE = np.dtype(integers("first_use", "n_uses", "parameter", "panel_stride", "width", "skip", "sensitivities"))
USE = np.dtype(integers("step", "term"))
TASK = np.dtype(integers("route", "begin", "end"))

#: Estimated operations per entry, beside the two of each multiply-add: what a difference of an elementwise step costs.
WORK_ELEMENTWISE = 30


class Routes:
    """The routes of one method over one program, and the tables in which the engine reads them."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._routes: list[tuple[int, ...]] = []
        self._uses: list[tuple[int, int]] = []
        self.counts: list[int] = []  #: parameters of each route, or units per sample
        self.work: list[float] = []  #: estimated operations of one row
        self.gathering = 0.0  #: estimated operations, per sample, of adding up the units' sensitivities
        per_row = sum(program.slots.widths)
        rows = BLOCK_DOUBLES // max(per_row, 1) // ROW_MULTIPLE * ROW_MULTIPLE
        self.rows = min(max(rows, ROW_MULTIPLE), MAX_ROWS)  #: of a block
        self.scratch = self.rows * (_engine.ROW_VALUES + _program.ROW_WORK + per_row)  #: doubles that a thread needs
        self.numbers = self.rows * _engine.ROW_NUMBERS + len(program.slots.widths)  #: integers that a thread needs
        dense = [self._dense_work(step) if n in program.needed else 0.0 for n, step in enumerate(program.steps)]
        self._dense_after = list(accumulate(reversed(dense), initial=0.0))[::-1]

    @classmethod
    def of_units(cls, program: Program) -> Routes:
        """One route per affine step."""
        routes = cls(program)
        for step, offset in program.unit_offsets().items():
            width = program.steps[step].width
            routes._add([(step, UNIT)], count=width, width=width, sensitivities=offset)
        routes.gathering = 2.0 * sum(term.parameter.size for _, term in program.terms)
        return routes

    @classmethod
    def of_parameters(cls, program: Program) -> Routes:
        """One route per parameter; every step that uses it is perturbed at once."""
        routes = cls(program)
        uses: dict[object, list[tuple[int, int]]] = {p: [] for p in program.parameters}
        for number, (step, term) in enumerate(program.terms):
            uses[term.parameter].append((step, number))
        for p in program.parameters:
            only = uses[p][0][1] if len(uses[p]) == 1 else NOTHING
            routes._add(
                uses[p],
                count=p.size,
                parameter=p.packed_offset,
                panel_stride=p.panel_stride,
                width=p.columns,
                skip=only if only != NOTHING and program.terms[only][1].step != NOTHING else NOTHING,
            )
        return routes

    def compile(self, isa: str) -> _program.CompiledProgram:
        """The program with these routes, as the engine runs them on an instruction set."""
        return _program.CompiledProgram(
            *self._program.tables,
            np.array(self._routes, ROUTE),
            np.array(self._uses, USE),
            self._program.tape_stride,
            len(self._program.slots.widths),
            self.rows,
            isa,
        )

    def tasks(self, items_per_count: int, rows_per_item: int, blocks: int) -> NDArray[np.void]:
        """Cuts the counts, `items_per_count` items each, into tasks of about so many blocks of rows."""
        tasks = [np.empty(0, TASK)]
        for number, count in enumerate(self.counts):
            total = count * items_per_count
            begins = np.arange(0, total, max(1, blocks * self.rows // rows_per_item))
            tasks.append(np.empty(len(begins), TASK))
            tasks[-1]["route"] = number
            tasks[-1]["begin"] = begins
            tasks[-1]["end"] = np.append(begins[1:], total)[: len(begins)]
        return np.concatenate(tasks)

    def work_after(self, tasks: NDArray[np.void]) -> NDArray[np.float64]:
        """Estimated operations up to and including each of the tasks, in some unit."""
        per_item = np.array(self.work)[tasks["route"]] + 1.0
        return np.asarray(np.cumsum(per_item * (tasks["end"] - tasks["begin"])))

    def total_work(self, samples: int) -> float:
        """Estimated operations of everything for so many samples."""
        perturbing = sum(2.0 * count * work for count, work in zip(self.counts, self.work, strict=True))
        return samples * (perturbing + self.gathering)

    def block_work(self) -> float:
        """Estimated operations of one block of rows of the costliest route."""
        return self.rows * max(self.work, default=0.0)

    def _add(
        self, uses: list[tuple[int, int]], *, count: int, width: int, parameter: int = NOTHING, panel_stride: int = 0,
        skip: int = NOTHING, sensitivities: int = 0,
    ) -> None:  # fmt: skip
        """The route that perturbs these affine steps, each with the number of the perturbed term or UNIT."""
        self._routes.append((len(self._uses), len(uses), parameter, panel_stride, width, skip, sensitivities))
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
            if step.kind == Kind.AFFINE:
                return work + 2.0 * step.width + self._dense_after[number + 1]
            if step.kind == Kind.SOFTMAX or not step.separable:
                return work + self._dense_after[number]
            work += WORK_ELEMENTWISE
            columns.add(number)
        return work

    def _dense_work(self, step: Step) -> float:
        if step.kind == Kind.AFFINE:
            return 2.0 * sum(t.parameter.size for t in step.terms if t.step != NOTHING)
        return 0.0 if step.kind == Kind.INPUT else float(WORK_ELEMENTWISE * step.width)
