"""Routes: what the engine does with the perturbations of one source.

A route is everything downstream of one source of perturbations: a parameter array (``incremental``), or the units of
one affine step (``units``). It is a list of instructions over *slots*, which hold differences: one value per row while
a difference still lies in one column of its step, a whole vector per row after it has met a matrix.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from . import _engine, _program
from ._program import Kind
from .program import NOTHING, integers, padded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .program import Program

UNIT = -2

#: Doubles that the slots of one block of rows may take: small enough to stay in a core's L2 cache.
BLOCK_DOUBLES = 48 * 1024
#: Rows of a block come in multiples of this (what the matrix kernel takes at once, twice; whole cache lines).
ROW_MULTIPLE = 24
MAX_ROWS = 10 * ROW_MULTIPLE

# These mirror the structs of _program.pxd and _engine.pyx, field for field.
INSTRUCTION = np.dtype(
    integers("step", "dense", "slot", "width", "first_link", "n_links", "inject", "inject_link", "compact")
)
LINK = np.dtype(integers("which", "dense", "slot", "width"))
ROUTE = np.dtype(
    integers(
        "first_instruction", "n_instructions", "capacity", "parameter", "panel_stride", "width", "skip", "sensitivities"
    )
)
TASK = np.dtype(integers("route", "begin", "end"))

#: Estimated operations per entry, beside the two of each multiply-add: what a difference of an elementwise step costs.
WORK_ELEMENTWISE = 30


class Difference(NamedTuple):
    """Where the difference of a step lies: a slot, and the width of a row in it (1: a column)."""

    slot: int
    width: int

    @property
    def dense(self) -> bool:
        return self.width > 1


class Routes:
    """The routes of one method over one program, and the tables in which the engine reads them."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._routes: list[tuple[int, ...]] = []
        self._instructions: list[tuple[int, ...]] = []
        self._links: list[tuple[int, ...]] = []
        self.counts: list[int] = []  #: parameters of each route, or units per sample
        self.work: list[float] = []  #: estimated operations of one row
        self.gathering = 0.0  #: estimated operations, per sample, of adding up the units' sensitivities
        self.scratch = 0  #: doubles that a thread needs
        self.rows = 0  #: rows of the largest block

    @classmethod
    def of_units(cls, program: Program) -> Routes:
        """One route per affine step."""
        routes = cls(program)
        for step, offset in program.unit_offsets().items():
            width = program.steps[step].width
            routes._add({step: UNIT}, count=width, width=width, sensitivities=offset)
        routes.gathering = 2.0 * sum(term.parameter.size for _, term in program.terms)
        return routes

    @classmethod
    def of_parameters(cls, program: Program) -> Routes:
        """One route per parameter array; every step that uses the array is perturbed at once."""
        routes = cls(program)
        for p in program.parameters:
            uses = {step: n for n, (step, term) in enumerate(program.terms) if term.parameter == p}
            only = next(iter(uses.values())) if len(uses) == 1 else NOTHING
            routes._add(
                uses,
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
            np.array(self._instructions, INSTRUCTION),
            np.array(self._links, LINK),
            self._program.tape_stride,
            isa,
        )

    def tasks(self, items_per_count: int, rows_per_item: int, blocks: int) -> NDArray[np.void]:
        """Cuts the counts, `items_per_count` items each, into tasks of about so many blocks of rows."""
        tasks = []
        for number, (count, route) in enumerate(zip(self.counts, self._routes, strict=True)):
            capacity = route[ROUTE.names.index("capacity")]  # type: ignore[union-attr]
            total = count * items_per_count
            begins = np.arange(0, total, max(1, blocks * capacity // rows_per_item))
            tasks.append(np.empty(len(begins), TASK))
            tasks[-1]["route"] = number
            tasks[-1]["begin"] = begins
            tasks[-1]["end"] = np.append(begins[1:], total)[: len(begins)]
        return np.concatenate(tasks) if tasks else np.empty(0, TASK)

    def total_work(self, samples: int) -> float:
        """Estimated operations of everything for so many samples."""
        perturbing = sum(2.0 * count * work for count, work in zip(self.counts, self.work, strict=True))
        return samples * (perturbing + self.gathering)

    def block_work(self) -> float:
        """Estimated operations of one block of rows of the costliest route."""
        capacities = np.array(self._routes, ROUTE)["capacity"].tolist()
        return max((c * work for c, work in zip(capacities, self.work, strict=True)), default=0.0)

    # ---- laying out one route

    def _add(
        self, sources: dict[int, int], *, count: int, width: int, parameter: int = NOTHING, panel_stride: int = 0,
        skip: int = NOTHING, sensitivities: int = 0,
    ) -> None:  # fmt: skip
        """The route from `sources`: the perturbed affine steps, each with the number of the perturbed term or UNIT."""
        layout = _Layout(self._program, sources, len(self._links))
        per_row = sum(layout.slot_widths)
        capacity = BLOCK_DOUBLES // per_row // ROW_MULTIPLE * ROW_MULTIPLE if per_row else MAX_ROWS
        capacity = min(max(capacity, ROW_MULTIPLE), MAX_ROWS)
        instructions, links = layout.tables()
        self._routes.append(
            (len(self._instructions), len(instructions), capacity, parameter, panel_stride, width, skip, sensitivities)
        )
        self._instructions += instructions
        self._links += links
        self.counts.append(count)
        self.work.append(layout.work)
        self.scratch = max(self.scratch, capacity * (_engine.ROW_VALUES + _program.ROW_WORK + per_row))
        self.rows = max(self.rows, capacity)


class _Layout:
    """Instructions and slots of one route, in the order of the program's steps.

    A slot is given back after the last step that reads it; all but affine steps may then write over their input.
    """

    def __init__(self, program: Program, sources: dict[int, int], first_link: int) -> None:
        self._program = program
        self._sources = sources
        self._first_link = first_link
        self._instructions: list[dict[str, int]] = []
        self._links: list[tuple[int, Difference]] = []
        self._where: dict[int, Difference] = {}  # the differences that are still needed
        self._free: list[int] = []
        self.slot_widths: list[int] = []
        self.work = 0.0
        needed: set[int] = set()
        for number, step in reversed(list(enumerate(program.steps))):
            if step.kind == Kind.COST or number in needed:
                needed.update([number, *step.inputs])
        changed: set[int] = set()
        for number, step in enumerate(program.steps):
            if number in needed and (number in sources or changed.intersection(step.inputs)):
                changed.add(number)
        self._last_use = {i: number for number in sorted(changed) for i in program.steps[number].inputs}
        self._last_source = max(sources, default=NOTHING)
        self._rows_may_drop = True
        for number in sorted(changed):
            self._lay_out(number)

    def _lay_out(self, number: int) -> None:
        step = self._program.steps[number]
        changed = [i for i in dict.fromkeys(step.inputs) if i in self._where]
        dense = any(self._where[i].dense for i in changed)
        if step.kind == Kind.AFFINE:
            dense |= any(term.step in changed and not term.diagonal for term in step.terms)
        else:
            dense |= step.kind == Kind.SOFTMAX or (step.kind == Kind.COST and not step.separable)
            for i in changed:
                if dense and not self._where[i].dense:
                    self._expand(i)
        self.work += self._work_of(number, changed, dense)
        links = self._links_of(number)
        finished = [i for i in changed if self._last_use[i] == number]
        width = padded(step.width) if dense else 1
        if step.kind == Kind.AFFINE:
            self._where[number] = self._allocate(width)
            self._release(finished)
        elif step.kind == Kind.COST:
            self._release(finished)
            self._rows_may_drop = False  # a dropped row would lose the change already found
        else:
            self._release(finished)
            self._where[number] = self._allocate(width)
        drop = (
            self._rows_may_drop
            and number >= self._last_source
            and list(self._where) == [number]
            and not self._where[number].dense
        )
        self._emit(number, self._where.get(number, Difference(0, width)), links, drop)
        if number not in self._last_use:
            self._release([i for i in [number] if i in self._where])

    def _links_of(self, number: int) -> list[tuple[int, Difference]]:
        step = self._program.steps[number]
        if step.kind == Kind.AFFINE:
            first = self._program.first_term[number]
            inputs = [(first + k, term.step) for k, term in enumerate(step.terms)]
        else:
            inputs = list(enumerate(step.inputs))
        return [(which, self._where[i]) for which, i in inputs if i in self._where]

    def _work_of(self, number: int, changed: list[int], dense: bool) -> float:
        step = self._program.steps[number]
        if step.kind != Kind.AFFINE:
            return WORK_ELEMENTWISE * (step.width if dense else 1)
        rows = sum((t.parameter.rows if self._where[t.step].dense else 1) for t in step.terms if t.step in changed)
        return 2.0 * step.width * rows

    def _allocate(self, width: int) -> Difference:
        """A free slot of the same shape (columns and vectors do not share), or a new one; it grows as needed."""
        fitting = [slot for slot in self._free if (self.slot_widths[slot] > 1) == (width > 1)]
        if fitting:
            slot = max(fitting, key=self.slot_widths.__getitem__)
            self._free.remove(slot)
            self.slot_widths[slot] = max(self.slot_widths[slot], width)
        else:
            slot = len(self.slot_widths)
            self.slot_widths.append(width)
        return Difference(slot, width)

    def _release(self, numbers: list[int]) -> None:
        self._free += [self._where.pop(i).slot for i in numbers]

    def _expand(self, number: int) -> None:
        """From here on the difference of a step is dense."""
        column = self._where.pop(number)
        self._where[number] = self._allocate(padded(self._program.steps[number].width))
        self._emit(NOTHING, self._where[number], [(0, column)], drop=False)
        self._free.append(column.slot)

    def _emit(self, number: int, out: Difference, links: list[tuple[int, Difference]], drop: bool) -> None:
        inject = self._sources.get(number, NOTHING)
        numbers = [which for which, _ in links]
        self._instructions.append(
            {
                "step": number,
                "dense": out.dense,
                "slot": out.slot,
                "width": out.width,
                "first_link": self._first_link + len(self._links),
                "n_links": len(links),
                "inject": inject,
                "inject_link": NOTHING,
                "compact": drop,
            }
        )
        if inject >= 0 and inject in numbers:
            self._instructions[-1]["inject_link"] = self._first_link + len(self._links) + numbers.index(inject)
        self._links += links

    def tables(self) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
        """Instructions and links, with slots given as doubles per row before them."""
        begin = list(accumulate(self.slot_widths, initial=0))
        instructions = [
            tuple(begin[value] if name == "slot" else int(value) for name, value in instruction.items())
            for instruction in self._instructions
        ]
        return instructions, [(which, d.dense, begin[d.slot], d.width) for which, d in self._links]
